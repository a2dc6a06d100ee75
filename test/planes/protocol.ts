import { resolve } from 'node:path';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';

/** noslated's own limit of a message, both ways. */
export const MAX_MESSAGE_BYTES = 10 * 1024 * 1024;

/** What both planes give to their gRPC servers. */
export const SERVER_OPTIONS = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
} as const;

// neither `defaults` nor `arrays`: what a peer left out must stay out, for it means Noslate's default
const definitions = loadSync(['noslated.proto', 'data-plane.proto', 'control-plane.proto', 'turf.proto'], {
  includeDirs: [resolve('test/planes')],
  keepCase: true,
  longs: Number,
});

function service(name: string): ServiceDefinition {
  return definitions[name] as ServiceDefinition;
}

export const HOST: ServiceDefinition = service('noslated.Host');
export const PUSH_SERVER: ServiceDefinition = service('noslated.data.PushServer');
export const DATA_PLANE: ServiceDefinition = service('noslated.data.DataPlane');
export const CONTROL_PLANE: ServiceDefinition = service('noslated.control.ControlPlane');
/** The doubles' own: a data plane's double starts its workers itself. */
export const TURF: ServiceDefinition = service('doubles.Turf');

/** Encodes a message by its full name, for example `noslated.Any`. */
export function encode(name: string, message: object): Buffer {
  return (definitions[name] as MessageTypeDefinition<object, object>).serialize(message);
}

/** One method of a service. */
export function method<Request, Response>(of: ServiceDefinition, name: string): MethodDefinition<Request, Response> {
  const found = of[name];
  if (found === undefined) throw new Error(`no method ${name}`);
  return found;
}

/** Socket of a plane, for example `dp-0`. */
export function socketFile(workdir: string, plane: string): string {
  return resolve(workdir, 'socks', `${plane}.sock`);
}

/** Decodes a message by its full name. */
export function decode<T>(name: string, bytes: Buffer): T {
  return (definitions[name] as MessageTypeDefinition<object, object>).deserialize(bytes) as T;
}
