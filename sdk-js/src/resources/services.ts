/** Each service as a call of its own, and the registry that describes them. */

import type { Answer, Body, Query } from '../contract.js';
import type { CallOptions } from '../transport.js';
import type { Job } from './jobs.js';
import { Resource } from './resource.js';

export type ServiceList = Answer<'GET /v1/registry/services'>;
export type Service = Answer<'GET /v1/registry/services/{serviceId}'>;
export type Validation = Answer<'POST /v1/registry/services/validate'>;

/** Every call makes an ordinary escrowed job. */
export class Services extends Resource {
  /** Text from a language model. */
  infer(body: Body<'POST /v1/services/llm/inference'>, options: CallOptions = {}): Promise<Job> {
    return this.transport.call('POST /v1/services/llm/inference', { ...options, body });
  }

  /** Text from speech. */
  transcribe(
    body: Body<'POST /v1/services/whisper/transcribe'>,
    options: CallOptions = {},
  ): Promise<Job> {
    return this.transport.call('POST /v1/services/whisper/transcribe', { ...options, body });
  }

  /** Pictures from text. */
  generateImage(
    body: Body<'POST /v1/services/stable-diffusion/generate'>,
    options: CallOptions = {},
  ): Promise<Job> {
    return this.transport.call('POST /v1/services/stable-diffusion/generate', { ...options, body });
  }

  /** Video in another format. */
  transcode(
    body: Body<'POST /v1/services/ffmpeg/transcode'>,
    options: CallOptions = {},
  ): Promise<Job> {
    return this.transport.call('POST /v1/services/ffmpeg/transcode', { ...options, body });
  }

  /** Frames from a Blender scene. */
  render(body: Body<'POST /v1/services/blender/render'>, options: CallOptions = {}): Promise<Job> {
    return this.transport.call('POST /v1/services/blender/render', { ...options, body });
  }
}

export class Registry extends Resource {
  /** What miners can be asked to do. */
  list(
    query: Query<'GET /v1/registry/services'> = {},
    options: CallOptions = {},
  ): Promise<ServiceList> {
    return this.transport.call('GET /v1/registry/services', { ...options, query });
  }

  get(serviceId: string, options: CallOptions = {}): Promise<Service> {
    return this.transport.call('GET /v1/registry/services/{serviceId}', {
      ...options,
      path: { serviceId },
    });
  }

  /** The JSON Schema that a service's requests are held to. */
  getSchema(
    serviceId: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/registry/services/{serviceId}/schema'>> {
    return this.transport.call('GET /v1/registry/services/{serviceId}/schema', {
      ...options,
      path: { serviceId },
    });
  }

  /** The hardware that a service needs. */
  getRequirements(
    serviceId: string,
    options: CallOptions = {},
  ): Promise<Answer<'GET /v1/registry/services/{serviceId}/requirements'>> {
    return this.transport.call('GET /v1/registry/services/{serviceId}/requirements', {
      ...options,
      path: { serviceId },
    });
  }

  /** Check a request, in the contract's own names, against a service's schema; submits nothing. */
  validate(
    serviceId: string,
    requestData: Record<string, unknown>,
    options: CallOptions = {},
  ): Promise<Validation> {
    return this.transport.call('POST /v1/registry/services/validate', {
      ...options,
      body: { serviceId, requestData },
      isRepeatable: true,
    });
  }
}
