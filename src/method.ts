/** Stands for all that is not among the names that there may be. */
export const OTHER = '_OTHER';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']);

/**
 * A method as it may be counted and searched by; what else there is counts as one, or a client could make as many as it
 * likes.
 *
 * @see OpenTelemetry semantic conventions, `http.request.method`
 */
export function knownMethod(method: string = ''): string {
  return METHODS.has(method) ? method : OTHER;
}
