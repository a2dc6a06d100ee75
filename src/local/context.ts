interface DaprRequestInit {
  body?: Uint8Array | string;
  timeout?: number;
}

/** What `ctx.Dapr['1.0'].invoke` takes. */
interface ServiceRequestInit extends DaprRequestInit {
  app?: string;
  method?: string;
}

/** What `ctx.Dapr['1.0'].binding` takes. */
interface BindingRequestInit extends DaprRequestInit {
  name?: string;
  metadata?: Record<string, unknown>;
  operation?: string;
}

class DaprRequest {
  readonly timeout: number;
  readonly #body: Uint8Array | string;

  constructor({ body = '', timeout = 10_000 }: DaprRequestInit) {
    this.timeout = timeout;
    this.#body = body;
  }

  async buffer(): Promise<Buffer> {
    return Buffer.from(this.#body);
  }
}

class ServiceRequest extends DaprRequest {
  readonly app: string;
  readonly method: string;

  constructor({ app = '', method = '', ...rest }: ServiceRequestInit = {}) {
    super(rest);
    this.app = String(app);
    this.method = String(method);
  }
}

class BindingRequest extends DaprRequest {
  readonly name: string;
  readonly metadata: Record<string, string>;
  readonly operation: string;

  constructor({ name = '', metadata = {}, operation = '', ...rest }: BindingRequestInit = {}) {
    super(rest);
    this.name = String(name);
    this.metadata = Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)]));
    this.operation = String(operation);
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
  throw new Error('Dapr: not implemented');
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
      const { format } = options;
      if (typeof type !== 'string' || typeof (format ?? '') !== 'string') {
        throw new TypeError('sendBeacon: expected type and options.format to be strings');
      }
      send(type, format, Uint8Array.from(typeof data === 'string' ? Buffer.from(data) : data));
      return true;
    },
  };
}
