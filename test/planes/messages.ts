/**
 * The messages of the .proto files beside this one, as they are decoded: what was absent is undefined.
 * Empty repeated fields are absent, too.
 */

export interface KeyValuePair {
  key?: string;
  value?: string;
}

export interface InvokeRequest {
  name?: string;
  url?: string;
  method?: string;
  headers?: KeyValuePair[];
  baggage?: KeyValuePair[];
  /** Epoch ms. */
  deadline?: number;
  body?: Buffer;
  requestId?: string;
  debuggerTag?: string;
}

/** One of the two. */
export interface InvokeResponse {
  error?: InvokeErrorResponse;
  result?: InvokeResultResponse;
}

export interface InvokeErrorResponse {
  name?: string;
  message?: string;
  stack?: string;
  peerMessage?: string;
  peerStack?: string;
  operation?: string;
  code?: number;
}

export interface InvokeResultResponse {
  status?: number;
  headers?: KeyValuePair[];
  body?: Buffer;
}

export interface FunctionProfileMessage {
  name?: string;
  runtime?: string;
  url?: string;
  signature?: string;
  handler?: string;
  initializer?: string;
  sourceFile?: string;
  resourceLimit?: { memory?: number; cpu?: number };
  worker?: FunctionProfileWorker;
  environments?: KeyValuePair[];
  rateLimit?: { maxTokenCount?: number; tokensPerFill?: number; fillInterval?: number };
  namespace?: string;
}

export interface FunctionProfileWorker {
  initializationTimeout?: number;
  maxActivateRequests?: number;
  reservationCount?: number;
  fastFailRequestsOnStarting?: boolean;
  replicaCountLimit?: number;
  v8Options?: string[];
  shrinkStrategy?: string;
  execArgv?: string[];
  disposable?: boolean;
  disableSeed?: boolean;
  disableRequestQueue?: boolean;
  dispatchMode?: string;
  concurrencySlidingWindowSize?: number;
  concurrencySlidingBucketCount?: number;
  emaConcurrencyAlpha?: number;
  concurrencyExpandThreshold?: number;
  concurrencyShrinkThreshold?: number;
  expandCooldown?: number;
  shrinkCooldown?: number;
  scaleFactor?: number;
  precisionZeroThreshold?: number;
  concurrencyStatsMode?: string;
  shrinkCooldownOnStartup?: boolean;
}

export interface SetFunctionProfileRequest {
  profiles?: FunctionProfileMessage[];
  mode?: string;
}

/** Of `setFunctionProfile` and of `setPlatformEnvironmentVariables`. */
export interface SetResponse {
  set?: boolean;
}

export interface SetPlatformEnvironmentVariablesRequest {
  envs?: KeyValuePair[];
}

export interface GetFunctionProfileResponse {
  profiles?: FunctionProfileMessage[];
}

export interface FunctionService {
  name?: string;
  type?: string;
  selectors?: { selector?: KeyValuePair[]; proportion?: number }[];
  selector?: KeyValuePair[];
}

export interface ServiceProfilesAccessor {
  profiles?: FunctionService[];
}

export interface UseInspectorRequest {
  funcName?: string;
  use?: boolean;
}

export interface PlaneHealthyResponse {
  name?: string;
  health?: boolean;
  reason?: string;
}

export interface WorkerTrafficStatsResponse {
  brokers?: {
    functionName?: string;
    inspector?: boolean;
    workers?: { name?: string; activeRequestCount?: number }[];
    concurrency?: number;
  }[];
}

export interface WorkerStatsSnapshotResponse {
  brokers?: {
    name?: string;
    inspector?: boolean;
    redundantTimes?: number;
    initiatingWorkerCount?: number;
    activeWorkerCount?: number;
    profile?: FunctionProfileMessage;
    workers?: {
      name?: string;
      credential?: string;
      registerTime?: number;
      pid?: number;
      data?: { activeRequestCount?: number; trafficOff?: boolean };
    }[];
  }[];
}

export interface RegisterWorkerCredentialRequest {
  funcName?: string;
  processName?: string;
  credential?: string;
  inspect?: boolean;
}

export interface StartWorkerFastFailRequest {
  type?: string;
  funcName?: string;
  inspect?: boolean;
  message?: string;
  stack?: string;
  fatal?: boolean;
}

export interface RequestQueueingBroadcast {
  name?: string;
  isInspect?: boolean;
  queuedRequestCount?: number;
  requestId?: string;
  timestamp?: number;
}

export interface ContainerStatusReport {
  functionName?: string;
  isInspector?: boolean;
  event?: string;
  name?: string;
}

/** The doubles' own. */
export interface RunRequest {
  profile?: FunctionProfileMessage;
  processName?: string;
  environments?: KeyValuePair[];
}

export interface RunResponse {
  failure?: string;
}

export interface StopRequest {
  funcName?: string;
  processName?: string;
}

export interface HostRequest {
  /** 1 SUBSCRIBE, 2 LIVENESS_PROBE. */
  type?: number;
  subscription?: { eventName?: string; subscribe?: boolean };
  liveness?: { timestamp?: number };
}

export interface SubscriptionChunk {
  timestamp?: number;
  events?: { name?: string; data?: { typeUrl?: string; data?: Buffer } }[];
}

export type Empty = Record<string, never>;
