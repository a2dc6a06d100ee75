import type { Metadata, TriggerResponse } from '../agent.ts';
import { epochOf, now } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { type CallListener, openCall, unaryCall } from '../grpc/call.ts';
import { frameMessage, PREFIX_BYTES, writePrefix } from '../grpc/message.ts';
import { GrpcError } from '../grpc/status.ts';
import * as Status from '../grpc/status-code.ts';
import type { Connection } from '../h2/connection.ts';
import { Inlet } from '../inlet.ts';
import type { ServiceProfile } from '../profile.ts';
import { describeTarget, type Target } from '../target.ts';
import { fromNoslate, type NoslateError } from './errors.ts';
import {
  InvokeRequest,
  type Of,
  PlaneHealthyResponse,
  ServiceProfilesAccessor,
  StartWorkerFastFailRequest,
  WorkerTrafficStatsResponse,
} from './messages.ts';
import { ResponseReader } from './response.ts';
import type { Upload } from './upload.ts';

const INVOKE: Readonly<Record<Target['type'], string>> = {
  function: '/noslated.data.PushServer/invoke',
  service: '/noslated.data.PushServer/invokeService',
};
const SET_SERVICE_PROFILES = '/noslated.data.DataPlane/setServiceProfiles';
const CHECK_HEALTH = '/noslated.data.DataPlane/checkHealth';
const GET_WORKER_TRAFFIC_STATS = '/noslated.data.DataPlane/getWorkerTrafficStats';
const START_WORKER_FAST_FAIL = '/noslated.data.DataPlane/startWorkerFastFail';

/** A body goes in messages of at most this size, a tenth of what a plane takes. */
const MAX_BODY_BYTES = 1024 * 1024;
/** `body`, field 7 of InvokeRequest. */
const BODY_TAG = (7 << 3) | 2;

/**
 * The plane ends a call at its deadline itself, and says best why: whether a worker was missing or the
 * function slow. Only when it stays silent do we; ms.
 */
const DEADLINE_GRACE_MS = 50;

/** Why an attempt failed, as the plane, gRPC or the caller's signal tells it. */
export type Failure = NoslateError | GrpcError | GatewayError;

/** Says a failure as the gateway does. */
export function toError(failure: Failure, target: Target): GatewayError {
  return failure instanceof GatewayError ? failure : fromNoslate(failure, describeTarget(target));
}

/**
 * Runs a function or service once, on a connection that can take a call. Resolves when its status and
 * headers are known.
 *
 * The first message carries the metadata and what has arrived of the body, so that most calls are one
 * packet. The response's bytes return to the plane's window when they are read.
 *
 * @throws {Failure} rejected, before the head. After it, a GatewayError destroys the response's body.
 * @see noslated proto/noslated/push-server.proto; Noslate contract §2 "invoke, frame by frame"
 */
export function invoke(
  connection: Connection,
  target: Target,
  upload: Upload,
  metadata: Metadata,
): Promise<TriggerResponse> {
  return new Promise((resolve, reject) => {
    const { signal, deadline } = metadata;
    let body: Inlet | undefined;
    let isSettled = false;

    function settle(): boolean {
      if (isSettled) return false;
      isSettled = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      return true;
    }
    /** Ends an attempt; a plane does not end one itself that failed before its head. */
    function fail(failure: Failure): void {
      upload.stop();
      call.cancel();
      if (settle()) reject(failure);
      // one read may hold the head as well: who waits for it must first be able to listen for errors
      else setImmediate(() => body?.destroy(toError(failure, target)));
    }
    function onAbort(): void {
      fail(signal.reason as GatewayError);
    }
    const consume = (bytes: number): void => call.consume(bytes);

    const reader = new ResponseReader(
      {
        onHead(status, headers) {
          upload.release();
          body = new Inlet(consume, () => {
            upload.stop();
            // when the response is whole, this only gives back what was held
            call.cancel();
          });
          if (settle()) resolve({ status, headers, body });
        },
        onBody: piece => body?.receive(piece, false),
        onError: fail,
      },
      consume,
    );
    const listener: CallListener = {
      onMessage: length => reader.onMessage(length),
      onPiece: piece => reader.onPiece(piece),
      onMessageEnd: () => reader.onMessageEnd(),
      onDrain: () => upload.resume(),
      onClose(error) {
        if (error !== undefined || body === undefined) {
          fail(error ?? new GrpcError(Status.INTERNAL, 'the call ended without a response'));
          return;
        }
        upload.stop();
        body.receive(undefined, true);
      },
    };

    const onDeadline = (): void => {
      // a plane that says nothing may be gone without a word
      connection.verify();
      fail(new GrpcError(Status.DEADLINE_EXCEEDED, 'no response by the deadline'));
    };
    const timer = setTimeout(onDeadline, Math.max(0, deadline + DEADLINE_GRACE_MS - now()));
    signal.addEventListener('abort', onAbort);

    const call = openCall(connection, INVOKE[target.type], listener);
    let isFirst = true;
    upload.start((chunk, isEnd) => {
      const parts = split(chunk);
      const chunks = isFirst ? firstMessage(target, metadata, parts.shift()) : [];
      isFirst = false;
      for (const part of parts) chunks.push(...bodyMessage(part));
      return call.send(chunks, isEnd);
    });
  });
}

/** Makes the message that starts a call: the metadata, and some of the body if there is any. */
function firstMessage(target: Target, metadata: Metadata, body: Buffer | undefined): Buffer[] {
  const { url, method, headers, baggage, deadline, requestId } = metadata;
  const request: Of<typeof InvokeRequest> = {
    name: target.name,
    url,
    method,
    headers,
    baggage,
    deadline: epochOf(deadline),
    requestId,
  };
  const head = InvokeRequest.encode(request, PREFIX_BYTES);
  if (body === undefined) {
    writePrefix(head, 0, head.length - PREFIX_BYTES);
    return [head];
  }
  // fields may come in any order: the body goes last, and is not copied
  const header = bodyHeader(body.length);
  writePrefix(head, 0, head.length - PREFIX_BYTES + header.length + body.length);
  return [head, header, body];
}

/** Makes a message that carries nothing but some of the body. */
function bodyMessage(body: Buffer): Buffer[] {
  const header = bodyHeader(body.length);
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  writePrefix(prefix, 0, header.length + body.length);
  return [prefix, header, body];
}

/** Tag and length, which stand before a body. */
function bodyHeader(length: number): Buffer {
  const bytes = [BODY_TAG];
  let rest = length;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function split(chunk: Buffer | undefined): Buffer[] {
  if (chunk === undefined) return [];
  if (chunk.length <= MAX_BODY_BYTES) return [chunk];
  const parts: Buffer[] = [];
  for (let at = 0; at < chunk.length; at += MAX_BODY_BYTES) parts.push(chunk.subarray(at, at + MAX_BODY_BYTES));
  return parts;
}

/**
 * Makes these the services of a data plane, in place of all earlier ones.
 *
 * @throws {GrpcError} rejected.
 */
export async function setServiceProfiles(
  connection: Connection,
  services: readonly ServiceProfile[],
  timeoutMs: number,
): Promise<void> {
  const pair = ({ functionName }: { functionName: string }) => [{ key: 'functionName', value: functionName }];
  const profiles = services.map(({ name, type, selector, selectors }) => ({
    name,
    type,
    selector: selector && pair(selector),
    selectors: selectors?.map(item => ({ selector: pair(item.selector), proportion: item.proportion })),
  }));
  const request = frameMessage(ServiceProfilesAccessor.encode({ profiles }));
  await unaryCall(connection, SET_SERVICE_PROFILES, request, timeoutMs);
}

/** Asks a data plane for its workers, by function. @throws {GrpcError} rejected. */
export async function getWorkerTrafficStats(
  connection: Connection,
  timeoutMs: number,
): Promise<NonNullable<Of<typeof WorkerTrafficStatsResponse>['brokers']>> {
  const answer = await unaryCall(connection, GET_WORKER_TRAFFIC_STATS, frameMessage(Buffer.of()), timeoutMs);
  return WorkerTrafficStatsResponse.decode(answer).brokers ?? [];
}

/** What a call is told that waited for a worker, and was taken from there by `takeBack`: no worker has seen it. */
const TAKEN_BACK = 'noslate-fc: to be placed anew';

/**
 * Has a data plane give back all calls of a function that wait there for a worker: they fail, and `isTakenBack` tells
 * so. To break one off instead is not the same: it would keep its place in the queue, and be run when a worker comes.
 *
 * @throws {GrpcError} rejected.
 * @see noslated src/data_plane/worker_broker.ts, `fastFailAllPendingsDueToStartError`
 */
export async function takeBack(connection: Connection, funcName: string, timeoutMs: number): Promise<void> {
  const request = StartWorkerFastFailRequest.encode({ funcName, inspect: false, message: TAKEN_BACK, fatal: true });
  await unaryCall(connection, START_WORKER_FAST_FAIL, frameMessage(request), timeoutMs);
}

/** True for a call that was taken back. */
export function isTakenBack(failure: Failure): boolean {
  return failure.message === TAKEN_BACK;
}

/** Asks a data plane for its health: it is ill while its circuit breaker is open. @throws {GrpcError} rejected. */
export async function checkHealth(connection: Connection, timeoutMs: number): Promise<Of<typeof PlaneHealthyResponse>> {
  return PlaneHealthyResponse.decode(await unaryCall(connection, CHECK_HEALTH, frameMessage(Buffer.of()), timeoutMs));
}
