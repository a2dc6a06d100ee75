import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import type { TriggerResponse } from '../../src/agent.ts';
import { momentOf } from '../../src/clock.ts';
import { GatewayError } from '../../src/errors.ts';
import { createCall } from '../../src/local/call.ts';
import { type Replica, startReplica } from '../../src/local/replica.ts';
import type { Log } from '../../src/log.ts';
import type { FunctionProfile, KeyValuePair } from '../../src/profile.ts';
import { errorAfterHead, errorBeforeHead, type NoslateError, sessionClosed } from './errors.ts';
import type { RuntimeRequest } from './runtime.ts';

/** A worker of a function that is ready. */
export interface Worker {
  readonly name: string;
  /**
   * Runs the function and resolves when its head is known. The body fails with a {@link NoslateError}; destroyed, it is
   * dropped while the function goes on.
   *
   * @param onFinish - the function has answered to the end, or has failed.
   * @throws {NoslateError} rejected.
   */
  invoke(request: RuntimeRequest, onFinish: () => void): Promise<TriggerResponse>;
  /** Ends it; calls in flight fail. */
  close(): Promise<void>;
}

/** The product, which is its own worker's script. We may run anywhere below `dist-test`, in any folder. */
const WORKER_FILE = join(__dirname.slice(0, __dirname.lastIndexOf('dist-test')), 'dist/server.js');

/** Nobody tells a worker that the client has gone. */
const NEVER = new AbortController().signal;

/**
 * Starts a worker in a thread, as turfd and the data plane together do; resolves when it is initialized.
 *
 * @param onExit - it ended by itself.
 * @throws {NoslateError} rejected: what the control plane says of a worker that could not be started.
 */
export async function startWorker(
  name: string,
  profile: FunctionProfile,
  environments: readonly KeyValuePair[],
  log: Log,
  onExit: () => void,
): Promise<Worker> {
  const { name: functionName, runtime } = profile;
  const failed = { name: functionName, runtime, requestId: '', deadline: 0 };
  let isClosed = false;
  const replica = await new Promise<Replica>((resolve, reject) => {
    const started = startReplica(name, { workerFile: WORKER_FILE, profile, environments }, log, {
      onReady() {
        log.info('worker ready', { function: functionName, worker: name });
        resolve(started);
      },
      onLoaded() {},
      onRelease() {},
      onExit(error, wasReady) {
        if (error === undefined) return;
        log.error('worker exited', { function: functionName, worker: name, error });
        if (wasReady) onExit();
        else reject(error);
      },
    });
  }).catch((error: unknown) => {
    throw errorBeforeHead(error, failed);
  });

  return {
    name,
    async invoke({ body, signal: _, ...call }, onFinish) {
      try {
        const request = { ...call, deadline: momentOf(call.deadline), signal: NEVER };
        const response = await new Promise<TriggerResponse>((resolve, reject) => {
          replica.invoke(createCall(body, request, resolve, reject));
        });
        response.body.on('close', onFinish);
        return toDroppable(response);
      } catch (error) {
        onFinish();
        if (isUndefinedRejection(error)) return { status: 200, headers: [], body: Readable.from([]) };
        throw isClosed ? sessionClosed() : errorBeforeHead(error, { ...failed, ...call });
      }
    },
    close() {
      isClosed = true;
      return replica.end();
    },
  };
}

/** A response whose body can be destroyed without the function hearing of it, and fails as a data plane's does. */
function toDroppable({ status, headers, body: source }: TriggerResponse): TriggerResponse {
  const body = new PassThrough();
  // after the pipe's own listener, which would leave the rest unread
  source.pipe(body);
  body.on('close', () => source.resume());
  source.on('error', error => body.destroy(errorAfterHead(error)));
  return { status, headers, body };
}

/** A handler that rejects with `undefined` has not failed, on Noslate. */
function isUndefinedRejection(error: unknown): boolean {
  return (
    error instanceof GatewayError &&
    error.cause instanceof Error &&
    error.cause.message === 'the handler rejected with undefined'
  );
}
