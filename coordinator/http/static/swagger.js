// Relative, so that the page works under /docs and /api/docs, behind any proxy.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", deepLinking: true, persistAuthorization: false });
