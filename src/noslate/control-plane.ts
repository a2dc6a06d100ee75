import { settable } from '../environment.ts';
import { unaryCall } from '../grpc/call.ts';
import { frameMessage } from '../grpc/message.ts';
import { GrpcError } from '../grpc/status.ts';
import * as Status from '../grpc/status-code.ts';
import type { Connection } from '../h2/connection.ts';
import { FUNCTION_DEFAULTS, type FunctionProfile, type KeyValuePair } from '../profile.ts';
import {
  type BrokerStats,
  GetFunctionProfileResponse,
  FunctionProfile as Message,
  type Of,
  PlaneHealthyResponse,
  SetFunctionProfileRequest,
  SetFunctionProfileResponse,
  SetPlatformEnvironmentVariablesRequest,
  SetPlatformEnvironmentVariablesResponse,
  WorkerStatsSnapshotResponse,
} from './messages.ts';

const method = (name: string): string => `/noslated.control.ControlPlane/${name}`;
const SET_FUNCTION_PROFILE = method('setFunctionProfile');
const GET_FUNCTION_PROFILE = method('getFunctionProfile');
const SET_PLATFORM_ENVIRONMENT_VARIABLES = method('setPlatformEnvironmentVariables');
const GET_WORKER_STATS_SNAPSHOT = method('getWorkerStatsSnapshot');
const CHECK_HEALTH = method('checkHealth');

const EMPTY = frameMessage(Buffer.of());

/**
 * Makes these the functions of the planes, in place of all earlier ones, unless they are so already. Resolves when
 * the data planes know them: seconds later, if workers must go for it. Others may still be starting. True when they
 * were set.
 *
 * @throws {GrpcError} rejected.
 */
export async function setFunctionProfile(
  connection: Connection,
  profiles: readonly FunctionProfile[],
  timeoutMs: number,
): Promise<boolean> {
  if (isSame(profiles, await getFunctionProfiles(connection, timeoutMs))) return false;
  const request = SetFunctionProfileRequest.encode({ profiles, mode: 'IMMEDIATELY' });
  const answer = await unaryCall(connection, SET_FUNCTION_PROFILE, frameMessage(request), timeoutMs);
  expectSet('function profiles', SetFunctionProfileResponse.decode(answer));
  return true;
}

/** Asks for the functions of the planes. @throws {GrpcError} rejected. */
export async function getFunctionProfiles(
  connection: Connection,
  timeoutMs: number,
): Promise<readonly Of<typeof Message>[]> {
  const answer = await unaryCall(connection, GET_FUNCTION_PROFILE, EMPTY, timeoutMs);
  return GetFunctionProfileResponse.decode(answer).profiles ?? [];
}

/**
 * Sets variables of every worker that starts from now on, in place of all earlier ones. A control plane forgets them
 * when it ends.
 *
 * @throws {GrpcError} rejected.
 */
export async function setPlatformEnvironmentVariables(
  connection: Connection,
  envs: readonly KeyValuePair[],
  timeoutMs: number,
): Promise<void> {
  const request = frameMessage(SetPlatformEnvironmentVariablesRequest.encode({ envs: settable(envs) }));
  const answer = await unaryCall(connection, SET_PLATFORM_ENVIRONMENT_VARIABLES, request, timeoutMs);
  expectSet('environment variables', SetPlatformEnvironmentVariablesResponse.decode(answer));
}

/** 0.25 always says that it has set them; a release that says otherwise must not be taken at its status alone. */
function expectSet(what: string, { set }: { readonly set?: boolean | undefined }): void {
  if (set === false) throw new GrpcError(Status.FAILED_PRECONDITION, `the control plane refuses the ${what}`);
}

/** Asks for the workers of every function. @throws {GrpcError} rejected. */
export async function getWorkerStatsSnapshot(
  connection: Connection,
  timeoutMs: number,
): Promise<readonly Of<typeof BrokerStats>[]> {
  const answer = await unaryCall(connection, GET_WORKER_STATS_SNAPSHOT, EMPTY, timeoutMs);
  return WorkerStatsSnapshotResponse.decode(answer).brokers ?? [];
}

/** Asks a control plane for its health. @throws {GrpcError} rejected. */
export async function checkHealth(connection: Connection, timeoutMs: number): Promise<Of<typeof PlaneHealthyResponse>> {
  return PlaneHealthyResponse.decode(await unaryCall(connection, CHECK_HEALTH, EMPTY, timeoutMs));
}

/** Tells whether a control plane's profiles, with its defaults filled in, are what it would make of ours. */
function isSame(ours: readonly Of<typeof Message>[], theirs: readonly Of<typeof Message>[]): boolean {
  const known = new Map(theirs.map(profile => [profile.name, profile]));
  if (ours.length !== theirs.length) return false;
  return ours.every(profile => {
    const other = known.get(profile.name);
    return other !== undefined && canonical(profile).equals(canonical(other));
  });
}

/** As a control plane gives it back, which drops what a runtime has no use for. */
function canonical(profile: Of<typeof Message>): Buffer {
  const { runtime, handler, initializer, sourceFile, namespace } = profile;
  return Message.encode({
    ...profile,
    handler: runtime === 'nodejs' ? handler : undefined,
    initializer: runtime === 'nodejs' ? initializer : undefined,
    sourceFile: runtime === 'nodejs' ? undefined : sourceFile,
    namespace: namespace === '' ? undefined : namespace,
    resourceLimit: { ...FUNCTION_DEFAULTS.resourceLimit, ...profile.resourceLimit },
    worker: { ...FUNCTION_DEFAULTS.worker, ...profile.worker },
  });
}
