/**
 * Clears what was built, and makes src/build/ of openapi.json: the contract's types in camelCase, and the shapes by which
 * answers and bodies are translated.
 *
 * What the contract describes is translated; what it leaves open (a job's input, result or
 * metadata, a map's keys) is content, and is handed on as it is.
 */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

import openapiTS, { astToString } from 'openapi-typescript';

const ROOT = new URL('../', import.meta.url);
const FOLDER = new URL('src/build/', ROOT);
const SCHEMA_PREFIX = '#/components/schemas/';
const METHODS = ['get', 'post', 'put', 'patch', 'delete'];
const JSON_TYPE = 'application/json';
const FORMAT = 'format';
const SCALARS = ['string', 'integer', 'number', 'boolean'];

const document = JSON.parse(readFileSync(new URL('openapi.json', ROOT), 'utf8'));
const names = nameSchemas(Object.keys(document.components.schemas));

for (const made of ['dist/', 'build/', 'src/build/']) {
  rmSync(new URL(made, ROOT), { recursive: true, force: true });
}
mkdirSync(FOLDER, { recursive: true });
const shapes = Object.fromEntries(
  Object.entries(document.components.schemas)
    .map(([name, schema]) => [names.get(name), describe(schema)])
    .filter(([, shape]) => shape !== null),
);
const operations = listOperations();
writeFileSync(
  new URL('contract.ts', FOLDER),
  [
    '// Made by scripts/generate.mjs.',
    "import type { paths } from './schema.js';",
    "import type { Operation, Shape } from '../contract.js';",
    '',
    `export const SHAPES: Readonly<Record<string, Shape>> = ${JSON.stringify(shapes)};`,
    '',
    `export const OPERATIONS: Readonly<Record<keyof Operations, Operation>> = ${JSON.stringify(
      Object.fromEntries(operations.map(({ key, operation }) => [key, operation])),
    )};`,
    '',
    'export interface Operations {',
    ...operations.map(({ key, path, method }) => `  '${key}': paths['${path}']['${method}'];`),
    '}',
    '',
  ].join('\n'),
);
const tree = await openapiTS(camelizeDocument(), { defaultNonNullable: false });
writeFileSync(
  new URL('schema.ts', FOLDER),
  `// Made by scripts/generate.mjs.\n${astToString(tree)}`,
);

/** What this package calls each schema. */
function nameSchemas(long) {
  return new Map(long.map((name) => [name, name.replace(/^Page_(.*)_$/, '$1Page')]));
}

function listOperations() {
  const found = [];
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((each) => each in item)) {
      const { requestBody, responses, parameters } = item[method];
      const answers = Object.entries(responses)
        .filter(([status]) => status.startsWith('2'))
        .map(([, answer]) => answer.content?.[JSON_TYPE]?.schema)
        .filter((schema) => schema !== undefined);
      const operation = {
        answer: merge(answers.map(describe)),
        body: describe(requestBody?.content?.[JSON_TYPE]?.schema ?? {}),
        takesKey: parameters.some(({ name }) => name === 'Idempotency-Key'),
      };
      const shown = camelizePath(path);
      found.push({ key: `${method.toUpperCase()} ${shown}`, path: shown, method, operation });
    }
  }
  return found;
}

/** The shape of a schema: null for content, else what its objects, lists or maps hold. */
function describe(schema) {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.slice(SCHEMA_PREFIX.length);
    const isScalar = SCALARS.includes(document.components.schemas[name].type);
    return isScalar ? null : { of: names.get(name) };
  }
  const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choices !== undefined) {
    // A choice that may be any object at all is content.
    return choices.some(isOpenObject) ? null : merge(choices.map(describe));
  }
  if (schema.type === 'array') {
    const items = describe(schema.items ?? {});
    return items === null ? null : { items };
  }
  if (schema.properties !== undefined) {
    const members = Object.entries(schema.properties)
      .map(([name, member]) => [name, describe(member)])
      .filter(([, shape]) => shape !== null);
    return { members: Object.fromEntries(members) };
  }
  if (typeof schema.additionalProperties === 'object') {
    const values = describe(schema.additionalProperties);
    return values === null ? null : { values };
  }
  return null;
}

function isOpenObject(schema) {
  return schema.type === 'object' && schema.properties === undefined
    && typeof schema.additionalProperties !== 'object';
}

/** The shape of a choice: each kind of value (object, list) as the choices describe it. */
function merge(found) {
  const parts = found.filter((shape) => shape !== null);
  if (parts.length < 2) return parts[0] ?? null;
  const [first, second, ...others] = parts.map(resolve);
  const items = merge([first.items ?? null, second.items ?? null]);
  const values = merge([first.values ?? null, second.values ?? null]);
  const members = first.members === undefined ? second.members : { ...first.members };
  for (const [name, shape] of Object.entries((first.members && second.members) ?? {})) {
    members[name] = merge([members[name] ?? null, shape]);
  }
  const whole = { items, values, members };
  const kept = Object.entries(whole).filter(([, part]) => part !== null && part !== undefined);
  return merge([Object.fromEntries(kept), ...others]);
}

function resolve(shape) {
  if (shape.of === undefined) return shape;
  const long = [...names].find(([, short]) => short === shape.of)[0];
  return resolve(describe(document.components.schemas[long]));
}

/** The document as users of this package see it: the names of what it describes in camelCase. */
function camelizeDocument() {
  const camel = camelizeSchema(document);
  const schemas = Object.entries(document.components.schemas);
  return {
    ...camel,
    components: {
      ...camel.components,
      schemas: Object.fromEntries(
        schemas.map(([name, schema]) => [names.get(name), camelizeSchema(schema)]),
      ),
    },
    paths: Object.fromEntries(
      Object.entries(document.paths).map(([path, item]) => [
        camelizePath(path),
        Object.fromEntries(
          Object.entries(item).map(([method, operation]) => [method, camelizeOperation(operation)]),
        ),
      ]),
    ),
  };
}

function camelizeOperation(operation) {
  const hasBareForm = operation.parameters.some(({ name }) => name === FORMAT);
  const parameters = operation.parameters.filter(
    (each) => each.in !== 'header' && each.name !== FORMAT,
  );
  return {
    ...camelizeSchema(hasBareForm ? dropBareForm(operation) : operation),
    parameters: parameters.map((each) => ({ ...camelizeSchema(each), name: camelize(each.name) })),
  };
}

/** A list that could be asked for as a bare array, which this package never does. */
function dropBareForm(operation) {
  const answer = operation.responses[200];
  const { schema } = answer.content[JSON_TYPE];
  const page = (schema.anyOf ?? [schema]).filter(({ type }) => type !== 'array');
  const content = { ...answer.content, [JSON_TYPE]: { schema: { anyOf: page } } };
  return { ...operation, responses: { ...operation.responses, 200: { ...answer, content } } };
}

function camelizeSchema(value) {
  if (Array.isArray(value)) return value.map(camelizeSchema);
  if (typeof value !== 'object' || value === null) return value;
  const copy = {};
  for (const [name, inner] of Object.entries(value)) {
    if (name === 'properties') {
      copy.properties = Object.fromEntries(
        Object.entries(inner).map(([member, schema]) => [camelize(member), camelizeSchema(schema)]),
      );
    } else if (name === 'required' && Array.isArray(inner)) {
      copy.required = inner.map(camelize);
    } else if (name === '$ref') {
      copy.$ref = SCHEMA_PREFIX + names.get(inner.slice(SCHEMA_PREFIX.length));
    } else if (name === 'additionalProperties' && inner === true && value.properties) {
      continue; // an index signature would let every misspelt member pass
    } else if (name !== 'title' && name !== 'default' && name !== 'examples') {
      copy[name] = camelizeSchema(inner);
    }
  }
  return copy;
}

function camelizePath(path) {
  return path.replace(/\{([^}]*)\}/g, (_, name) => `{${camelize(name)}}`);
}

/** The same rule as in src/naming.ts. */
function camelize(name) {
  return name.replace(/(?<=[A-Za-z0-9])_([a-z])/g, (_, letter) => letter.toUpperCase());
}
