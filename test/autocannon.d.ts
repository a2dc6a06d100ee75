declare module 'autocannon' {
  /** What a load has come to, as far as tests ask. */
  export interface Result {
    readonly requests: { readonly sent: number };
    readonly non2xx: number;
    readonly errors: number;
  }
  /** With `stop`, which leaves out what is still to be sent. */
  export default function autocannon(options: {
    readonly url: string;
    readonly connections: number;
    readonly amount: number;
  }): Promise<Result> & { stop(): void };
}
