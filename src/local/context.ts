/** What `ctx.Dapr['1.0'].invoke` takes. */
interface ServiceRequestInit {
  app?: string;
  method?: string;
  body?: Uint8Array | string;
  timeout?: number;
}

/** What `ctx.Dapr['1.0'].binding` takes. */
interface BindingRequestInit {
  name?: string;
  metadata?: Record<string, unknown>;
  operation?: string;
  body?: Uint8Array | string;
  timeout?: number;
}

const DAPR_TIMEOUT_MS = 10_000;

class ServiceRequest {
  readonly app: string;
  readonly method: string;
  readonly timeout: number;
  readonly #body: Uint8Array | string;

  constructor({ app = '', method = '', body = '', timeout = DAPR_TIMEOUT_MS }: ServiceRequestInit = {}) {
    this.app = String(app);
    this.method = String(method);
    this.timeout = timeout;
    this.#body = body;
  }

  async buffer(): Promise<Buffer> {
    return Buffer.from(this.#body);
  }
}

class BindingRequest {
  readonly name: string;
  readonly metadata: Record<string, string>;
  readonly operation: string;
  readonly timeout: number;
  readonly #body: Uint8Array | string;

  constructor({
    name = '',
    metadata = {},
    operation = '',
    body = '',
    timeout = DAPR_TIMEOUT_MS,
  }: BindingRequestInit = {}) {
    this.name = String(name);
    this.metadata = Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)]));
    this.operation = String(operation);
    this.timeout = timeout;
    this.#body = body;
  }

  async buffer(): Promise<Buffer> {
    return Buffer.from(this.#body);
  }
}

/** Where beacons go. */
export type SendBeacon = (type: string, format: string | undefined, data: Uint8Array) => void;

/** `ctx` of a nodejs function. */
export interface Context {
  Dapr: { '1.0': typeof dapr };
  sendBeacon(type: string, options: { format?: string }, data: string | Uint8Array): boolean;
}

/** A data plane without a Dapr adaptor refuses every call; the local agent never has one. */
async function refuse(): Promise<never> {
  throw new Error('Dapr: not implemented, there is no Dapr adaptor here');
}

const dapr = { ServiceRequest, BindingRequest, invoke: refuse, binding: refuse };

/**
 * Makes the `ctx` of one call: a function may leave things on it.
 *
 * @see Noslate contract §5, "nodejs"
 */
export function createContext(send: SendBeacon): Context {
  return {
    Dapr: { '1.0': dapr },
    sendBeacon(type, options, data) {
      if (typeof type !== 'string') throw new TypeError('sendBeacon: expected type to be a string');
      const { format } = options;
      if (format !== undefined && typeof format !== 'string') {
        throw new TypeError('sendBeacon: expected options.format to be a string');
      }
      send(type, format, Uint8Array.from(typeof data === 'string' ? Buffer.from(data) : data));
      return true;
    },
  };
}
