/** How planes misbehave. All of it can be changed while it runs; times count from its start. */
export interface Knobs {
  /** ms until its socket is there. Read at start. */
  lateSocketMs: number;
  /** ms for which it knows no function, whatever the control plane has told it: as after a restart. */
  lateProfilesMs: number;
  /** ms for which it stops reading after each message of a request. Up to 16 messages it holds unread. */
  slowReaderMs: number;
  /** Reads and writes no faster than the other side takes it, which a real data plane does not. */
  heedBackpressure: boolean;
  /** `checkHealth` says that the circuit breaker is open. */
  unhealthy: boolean;
  /** The control plane answers environments with an error. */
  refuseEnvironments: boolean;
}

/** As real planes that are up. */
export const KNOBS: Readonly<Knobs> = {
  lateSocketMs: 0,
  lateProfilesMs: 0,
  slowReaderMs: 0,
  heedBackpressure: false,
  unhealthy: false,
  refuseEnvironments: false,
};
