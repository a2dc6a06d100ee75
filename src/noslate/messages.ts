import type { RawHeaders } from '../headers.ts';
import {
  bool,
  bytes,
  double,
  type Field,
  float,
  int32,
  type Message,
  type MessageCodec,
  message,
  repeated,
  single,
  string,
} from '../protobuf.ts';

// Noslate's messages, as far as a client of its planes sends or reads them: the names and numbers of its
// .proto files (packages noslated, noslated.data, noslated.control; Noslate contract §2).

export const KeyValuePair = message({ key: single(1, string), value: single(2, string) });

/** A repeated KeyValuePair as flat name, value, name, value, …: the shape that HTTP header fields have here. */
function pairs(number: number): Field<RawHeaders> {
  const pair = single(number, KeyValuePair);
  return {
    number,
    wireType: pair.wireType,
    write(writer, fields) {
      for (let i = 0; i < fields.length; i += 2) {
        writer.tag(number, pair.wireType);
        writer.message(() => {
          writer.tag(1, string.wireType);
          writer.string(fields[i] as string);
          writer.tag(2, string.wireType);
          writer.string(fields[i + 1] as string);
        });
      }
    },
    read(reader, previous) {
      const fields = (previous as string[] | undefined) ?? [];
      const { key = '', value = '' } = KeyValuePair.read(reader);
      fields.push(key, value);
      return fields;
    },
  };
}

// push-server.proto

export const InvokeRequest = message({
  name: single(1, string),
  url: single(2, string),
  method: single(3, string),
  headers: pairs(4),
  baggage: pairs(5),
  /** Epoch ms. */
  deadline: single(6, double),
  body: single(7, bytes),
  requestId: single(8, string),
  debuggerTag: single(9, string),
});

export const InvokeErrorResponse = message({
  name: single(1, string),
  message: single(2, string),
  stack: single(3, string),
  peerMessage: single(4, string),
  peerStack: single(5, string),
  operation: single(6, string),
  code: single(7, int32),
});

// common.proto

const RateLimit = message({
  maxTokenCount: single(1, int32),
  tokensPerFill: single(2, int32),
  fillInterval: single(3, int32),
});

const ResourceLimit = message({ memory: single(1, int32), cpu: single(2, float) });

const FunctionProfileWorker = message({
  initializationTimeout: single(1, int32),
  maxActivateRequests: single(2, int32),
  reservationCount: single(3, int32),
  fastFailRequestsOnStarting: single(4, bool),
  replicaCountLimit: single(5, int32),
  v8Options: repeated(6, string),
  shrinkStrategy: single(7, string),
  execArgv: repeated(8, string),
  disposable: single(9, bool),
  disableSeed: single(10, bool),
  disableRequestQueue: single(11, bool),
  dispatchMode: single(12, string),
  concurrencySlidingWindowSize: single(13, int32),
  concurrencySlidingBucketCount: single(14, int32),
  emaConcurrencyAlpha: single(15, float),
  concurrencyExpandThreshold: single(16, float),
  concurrencyShrinkThreshold: single(17, float),
  expandCooldown: single(18, int32),
  shrinkCooldown: single(19, int32),
  scaleFactor: single(20, float),
  precisionZeroThreshold: single(21, float),
  concurrencyStatsMode: single(22, string),
  shrinkCooldownOnStartup: single(23, bool),
});

export const FunctionProfile = message({
  name: single(1, string),
  runtime: single(2, string),
  url: single(3, string),
  signature: single(4, string),
  handler: single(5, string),
  initializer: single(6, string),
  sourceFile: single(7, string),
  resourceLimit: single(8, ResourceLimit),
  worker: single(9, FunctionProfileWorker),
  environments: repeated(10, KeyValuePair),
  rateLimit: single(11, RateLimit),
  namespace: single(12, string),
});

export const SetFunctionProfileRequest = message({
  profiles: repeated(1, FunctionProfile),
  mode: single(2, string),
});

export const SetFunctionProfileResponse = message({ set: single(1, bool) });

export const GetFunctionProfileResponse = message({ profiles: repeated(1, FunctionProfile) });

export const SetPlatformEnvironmentVariablesRequest = message({ envs: repeated(1, KeyValuePair) });

export const SetPlatformEnvironmentVariablesResponse = SetFunctionProfileResponse;

export const PlaneHealthyResponse = message({
  name: single(1, string),
  health: single(2, bool),
  reason: single(3, string),
});

// data-plane.proto

const FunctionServiceSelector = message({ selector: repeated(1, KeyValuePair), proportion: single(2, float) });

const FunctionService = message({
  name: single(1, string),
  type: single(2, string),
  selectors: repeated(3, FunctionServiceSelector),
  /** One pair, `functionName`. */
  selector: repeated(4, KeyValuePair),
});

export const ServiceProfilesAccessor = message({ profiles: repeated(1, FunctionService) });

const WorkerStats = message({ name: single(1, string), activeRequestCount: single(3, int32) });

/** A function on one data plane. */
const WorkerTrafficStats = message({
  functionName: single(1, string),
  inspector: single(2, bool),
  /** Those that are starting among them, and those that never came. */
  workers: repeated(3, WorkerStats),
  /** Calls that have no head yet. */
  concurrency: single(4, float),
});

export const WorkerTrafficStatsResponse = message({ brokers: repeated(1, WorkerTrafficStats) });

/** Rejects the calls of a function that wait for a worker, with a message of the sender's. */
export const StartWorkerFastFailRequest = message({
  funcName: single(2, string),
  inspect: single(3, bool),
  message: single(4, string),
  fatal: single(7, bool),
});

// rpc.proto

const Any = message({ typeUrl: single(1, string), data: single(2, bytes) });

export const HostRequest = message({
  type: single(1, int32),
  subscription: single(11, message({ eventName: single(1, string), subscribe: single(2, bool) })),
  liveness: single(12, message({ timestamp: single(1, int32) })),
});

export const SubscriptionChunk = message({
  events: repeated(2, message({ name: single(1, string), data: single(2, Any) })),
});

// data-plane-broadcast.proto

export const RequestQueueingBroadcast = message({ name: single(1, string), isInspect: single(2, bool) });

export const ContainerStatusReport = message({
  functionName: single(1, string),
  isInspector: single(2, bool),
  event: single(3, string),
  name: single(4, string),
});

// control-plane.proto

/** What else a control plane says of a function and its workers is passed over: `/initialize` asks again and again. */
export const BrokerStats = message({
  name: single(1, string),
  inspector: single(2, bool),
  initiatingWorkerCount: single(4, int32),
  activeWorkerCount: single(5, int32),
});

export const WorkerStatsSnapshotResponse = message({ brokers: repeated(1, BrokerStats) });

/** What a codec of a message writes and reads. */
export type Of<C> = C extends MessageCodec<infer T> ? T : never;
export type { Message };
