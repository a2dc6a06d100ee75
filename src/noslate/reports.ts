import { type Call, openCall } from '../grpc/call.ts';
import { frameMessage } from '../grpc/message.ts';
import { ProtobufError } from '../protobuf.ts';
import { getWorkerTrafficStats } from './data-plane.ts';
import { ContainerStatusReport, HostRequest, RequestQueueingBroadcast, SubscriptionChunk } from './messages.ts';
import { connectionOf, type Plane } from './plane.ts';
import { pause } from './waiting.ts';

const CONNECT = '/noslated.Host/connect';
/** `RequestType`. */
const SUBSCRIBE = 1;
const LIVENESS_PROBE = 2;
/** Before a stream that has ended is opened again, ms. */
const AGAIN_MS = 200;
/** Longest wait for a list of workers, ms. */
const LIST_TIMEOUT_MS = 2000;
/** No report is near as long; what is longer is not for us. */
const MAX_MESSAGE_BYTES = 64 * 1024;

/** What hears of the workers on a data plane. Those that a debugger has asked for are left out. */
export interface ReportListener {
  /** A worker takes calls from now on, or has done so for a while. Perhaps more than once. */
  onInstalled(name: string, worker: string): void;
  /** A worker takes no calls any more. Perhaps more than once, or of one that was never heard of. */
  onGone(name: string, worker: string): void;
  /** A call waits for a worker. */
  onQueueing(name: string): void;
  /** What there is, by function. */
  onList(list: ReadonlyMap<string, Listed>): void;
}

/** A function on a data plane. */
export interface Listed {
  /** Those that are starting are among them, and those that never came. */
  readonly workers: readonly string[];
  /** More calls are there than workers have. */
  readonly isWaiting: boolean;
}

const message = (request: Parameters<typeof HostRequest.encode>[0]): Buffer =>
  frameMessage(HostRequest.encode(request));
const subscribe = (eventName: string): Buffer =>
  message({ type: SUBSCRIBE, subscription: { eventName, subscribe: true } });

/** The probe's answer tells that what came before it is done. */
const OPENING = [
  subscribe('containerStatusReport'),
  subscribe('requestQueueing'),
  message({ type: LIVENESS_PROBE, liveness: { timestamp: 0 } }),
];

/**
 * Listens to what a data plane tells of its workers, as long as it stays up: all that is told from some moment on, and
 * a list of what was there at that moment. A stream that ends is opened again, and gives a new list.
 *
 * @see Noslate contract §2, "Liveness"; noslated src/data_plane/data_plane_host.ts
 */
export async function listen(plane: Plane, listener: ReportListener): Promise<void> {
  const { upSince } = plane;
  const isSame = (): boolean => plane.isUp && plane.upSince === upSince;
  while (isSame()) {
    await listenOnce(plane, listener, isSame).catch(() => {});
    await pause(AGAIN_MS);
  }
}

/** Resolves when the stream has ended; the data plane that is meant may be gone then. */
function listenOnce(plane: Plane, listener: ReportListener, isSame: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    /** Workers that have gone while their list is on its way: it may still have them. */
    const gone = new Set<string>();
    let liveness = 0;
    let pieces: Buffer[] = [];
    let size = 0;

    async function list(): Promise<void> {
      const brokers = await getWorkerTrafficStats(connectionOf(plane), LIST_TIMEOUT_MS);
      if (!isSame()) return;
      const own = brokers.filter(({ inspector }) => inspector !== true);
      listener.onList(new Map(own.map(broker => [broker.functionName ?? '', toListed(broker, gone)])));
      gone.clear();
    }

    function onEvent(name: string | undefined, data: Buffer): void {
      if (!isSame()) return;
      if (name === 'containerStatusReport') {
        const { functionName = '', isInspector, event, name: worker = '' } = ContainerStatusReport.decode(data);
        if (isInspector === true) return;
        if (event === 'ContainerInstalled') listener.onInstalled(functionName, worker);
        else {
          gone.add(worker);
          listener.onGone(functionName, worker);
        }
      } else if (name === 'requestQueueing') {
        const { name: functionName = '', isInspect } = RequestQueueingBroadcast.decode(data);
        if (isInspect !== true) listener.onQueueing(functionName);
      } else if (name === 'host.liveness' && ++liveness === 2) {
        // the first comes by itself
        list().catch(end);
      }
    }

    function end(error: unknown): void {
      call.cancel();
      reject(error);
    }

    const call: Call = openCall(connectionOf(plane), CONNECT, {
      onMessage(length) {
        pieces = [];
        size = 0;
        if (length > MAX_MESSAGE_BYTES) end(new Error(`a report of ${length} bytes`));
      },
      onPiece(piece) {
        // a copy: the view would keep far more than itself
        pieces.push(Buffer.from(piece));
        size += piece.length;
        call.consume(piece.length);
      },
      onMessageEnd() {
        try {
          const { events = [] } = SubscriptionChunk.decode(Buffer.concat(pieces, size));
          for (const { name, data } of events) onEvent(name, (data?.data ?? Buffer.of()) as Buffer);
        } catch (error) {
          if (!(error instanceof ProtobufError)) throw error;
          end(error);
        }
      },
      onDrain() {},
      onClose(error) {
        if (error === undefined) resolve();
        else reject(error);
      },
    });
    // our side stays open: to end it is to leave
    call.send(OPENING, false);
  });
}

function toListed(
  { workers = [], concurrency = 0 }: Awaited<ReturnType<typeof getWorkerTrafficStats>>[number],
  gone: ReadonlySet<string>,
): Listed {
  const active = workers.reduce((sum, { activeRequestCount = 0 }) => sum + activeRequestCount, 0);
  return {
    workers: workers.map(({ name = '' }) => name).filter(name => !gone.has(name)),
    isWaiting: concurrency > active,
  };
}
