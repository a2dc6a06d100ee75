import type { Log } from '../log.ts';
import { EMPTY_PROFILE, type Profile } from '../profile.ts';
import * as controlPlane from './control-plane.ts';
import * as dataPlane from './data-plane.ts';
import { connectionOf, type Plane } from './plane.ts';
import { pause } from './waiting.ts';

/** Longest wait for a plane to take what it is told, ms. Code is downloaded in that time. */
const SET_TIMEOUT_MS = 60_000;
/** Before a plane is told again what it has failed to take, ms. */
const AGAIN_MS = 1000;

/** What a plane has been told since it came up. */
interface Told {
  /** The version of the profile whose functions or services it has taken, 0 for none. */
  version: number;
  /** The version whose environments it has taken. */
  environments: number;
  /** It may hold environments of ours. */
  hasEnvironments: boolean;
  /** What it has not taken when it was told last, if there was such. */
  refusal: string | undefined;
  /** The `upSince` for which it is being told, if it is. */
  tellingSince: number | undefined;
}

/** Tells planes what the profile says. */
export interface Telling {
  readonly profile: Profile;
  /** Tells all planes another profile. */
  set(profile: Profile): void;
  /** Tells a plane that has just come up. */
  start(plane: Plane): void;
  /** True for a plane that has taken the latest profile. */
  hasTaken(plane: Plane): boolean;
  /** True for a plane that has taken this profile, or one before: calls go by that while it is told another. */
  hasAny(plane: Plane): boolean;
  /** What planes have not taken, a line for each. */
  refusals(): string[];
  /** A control plane that has taken the latest profile. */
  told(): Plane | undefined;
  /** True until a control plane has taken a profile for the first time. */
  isUntold(): boolean;
}

/**
 * Keeps planes up to date.
 *
 * @param planes - all that there are, now and later.
 * @param onTaken - a plane has taken the latest profile.
 */
export function createTelling(planes: () => readonly Plane[], log: Log, onTaken: () => void): Telling {
  const told = new Map<Plane, Told>();
  let profile: Profile = EMPTY_PROFILE;
  let version = 0;
  let wasTold = false;

  /** Tells a plane until it has taken the latest or is no longer up. */
  async function tell(plane: Plane): Promise<void> {
    const { upSince, kind } = plane;
    const state = told.get(plane);
    if (state === undefined || state.tellingSince === upSince) return;
    state.tellingSince = upSince;
    const isSame = (): boolean => plane.isUp && plane.upSince === upSince;
    let refusal: string | undefined;
    /** True when it was taken, and by the process that was meant. */
    const isTaken = async (complaint: string, taking: Promise<void>): Promise<boolean> => {
      try {
        await taking;
        return isSame();
      } catch (error) {
        if (isSame()) log.error(complaint, { plane: plane.name, error });
        refusal = complaint;
        return false;
      }
    };
    while (isSame() && (state.version !== version || state.environments !== version)) {
      const telling = version;
      refusal = undefined;
      // first, so that workers which the functions start have them; but these do not wait for ever
      if (state.environments !== telling) {
        const taking = kind === 'cp' ? tellEnvironments(plane, state) : Promise.resolve();
        if (await isTaken('the control plane refuses the environments', taking)) state.environments = telling;
      }
      if (state.version !== telling && isSame()) {
        const taking = kind === 'cp' ? tellFunctions(plane) : tellServices(plane);
        if (await isTaken('plane does not take the profile', taking)) {
          state.version = telling;
          wasTold ||= kind === 'cp';
          onTaken();
        }
      }
      state.refusal = refusal;
      if (isSame() && (state.version !== telling || state.environments !== telling)) await pause(AGAIN_MS);
    }
    if (isSame()) state.tellingSince = undefined;
  }

  async function tellServices(plane: Plane): Promise<void> {
    // with the first profile no plane can have services of an earlier one
    if (profile.services.length === 0 && version === 1) return;
    await dataPlane.setServiceProfiles(connectionOf(plane), profile.services, SET_TIMEOUT_MS);
  }

  async function tellEnvironments(plane: Plane, state: Told): Promise<void> {
    const { environments } = profile;
    if (environments.length === 0 && !state.hasEnvironments) return;
    state.hasEnvironments = true;
    await controlPlane.setPlatformEnvironmentVariables(connectionOf(plane), environments, SET_TIMEOUT_MS);
    state.hasEnvironments = environments.length > 0;
  }

  async function tellFunctions(plane: Plane): Promise<void> {
    const { functions } = profile;
    const isNew = await controlPlane.setFunctionProfile(connectionOf(plane), functions, SET_TIMEOUT_MS);
    if (isNew) log.info('function profiles set', { functions: functions.map(({ name }) => name) });
  }

  const hasTaken = (plane: Plane): boolean => version > 0 && told.get(plane)?.version === version;

  return {
    get profile() {
      return profile;
    },
    set(next) {
      profile = next;
      version++;
      for (const plane of planes()) tell(plane);
    },
    start(plane) {
      // another process, for all we know: it has heard nothing, whatever is still being said to the last one
      told.set(plane, {
        version: 0,
        environments: 0,
        hasEnvironments: false,
        refusal: undefined,
        tellingSince: undefined,
      });
      tell(plane);
    },
    hasTaken,
    hasAny: plane => (told.get(plane)?.version ?? 0) > 0,
    refusals: () =>
      planes().flatMap(plane => {
        const refusal = plane.isUp ? told.get(plane)?.refusal : undefined;
        return refusal === undefined ? [] : [`${plane.name}: ${refusal}`];
      }),
    told: () => planes().find(plane => plane.kind === 'cp' && plane.isUp && hasTaken(plane)),
    isUntold: () => version > 0 && !wasTold,
  };
}
