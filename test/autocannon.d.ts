declare module 'autocannon' {
  /** What a load has come to, as far as tests ask. */
  export interface Result {
    readonly requests: { readonly sent: number };
    readonly non2xx: number;
    readonly errors: number;
  }
  interface Load extends Promise<Result> {
    on(event: 'response', listener: () => void): void;
    /** Leaves out what is still to be sent. */
    stop(): void;
  }
  export default function autocannon(options: {
    readonly url: string;
    readonly connections: number;
    readonly amount: number;
  }): Load;
}
