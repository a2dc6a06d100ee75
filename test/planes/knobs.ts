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
  /** The data plane on which it puts every worker, as long as that is there; a random one if it is empty. */
  placeOn: string;
  /** ms that it takes over functions of which one with workers has other code or is gone: what turfd gives these. */
  replaceMs: number;
  /** turfd finds no binary of the runtime. */
  noBinary: boolean;
}

/** As real planes that are up. */
export const KNOBS: Readonly<Knobs> = {
  lateSocketMs: 0,
  lateProfilesMs: 0,
  slowReaderMs: 0,
  heedBackpressure: false,
  unhealthy: false,
  refuseEnvironments: false,
  placeOn: '',
  replaceMs: 3000,
  noBinary: false,
};
