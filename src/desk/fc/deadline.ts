/** Between two looks whether a limit that has been reached still has to wait. */
const LOOK_MS = 250;

/**
 * Calls back when so many ms are over; not as long as limits of time have to wait. Gives the function that ends it.
 *
 * @param isHeld - a function's setting.
 */
export function deadline(ms: number, isHeld: () => boolean, expire: () => void): () => void {
  function look(): void {
    if (isHeld()) timer = setTimeout(look, LOOK_MS);
    else expire();
  }
  let timer = setTimeout(look, ms);
  return () => clearTimeout(timer);
}
