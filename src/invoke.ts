import type { Agent, Metadata } from './agent.ts';
import { now } from './clock.ts';
import { GatewayError } from './errors.ts';
import type { Exchange, Gateway } from './gateway.ts';
import { requestHeaders } from './headers.ts';
import { breakOff, respond } from './respond.ts';
import { formatTarget } from './target.ts';
import { traceFields } from './trace.ts';

/**
 * Runs an event invoke or an HTTP trigger, from the request to the last byte handed to `respond`. The
 * body is not read here: the agent takes it as fast as the function does.
 *
 * @throws {GatewayError} rejected, for whatever failed before the head; `server` answers it.
 */
export async function invoke(gateway: Gateway, exchange: Exchange): Promise<void> {
  const { config, invocations, queue } = gateway;
  const { req, res } = exchange;
  if (gateway.draining) throw new GatewayError('DRAINING', 'the instance is stopping');
  const place = queue.enter(exchange);
  // only now: refusals must not take the place of those that could be served
  exchange.invocation = invocations.add(exchange);
  if (place !== undefined) {
    // nobody misses its body yet
    req.pause();
    try {
      await place;
    } finally {
      exchange.queuedMs = now() - exchange.startedAt;
    }
  }
  exchange.isCold = !gateway.hasInvoked;
  gateway.hasInvoked = true;
  limitBody(exchange, config.maxBody);
  const target = gateway.router(exchange);
  exchange.function = formatTarget(target);
  const agent = gateway.agent ?? (await untilReady(gateway, exchange));

  if (req.headers.expect !== undefined && req.httpVersion === '1.1') res.writeContinue();
  const { type, name } = target;
  // a service is no function: which of them will run, Noslate decides
  const isTrusted = type === 'function' && gateway.profile.credentials?.includes(name) === true;
  const metadata = metadataOf(exchange, isTrusted);
  if (config.timing === 'on') exchange.handedMs = now() - exchange.startedAt;
  const response = type === 'service' ? agent.invokeService(name, req, metadata) : agent.invoke(name, req, metadata);
  const answer = await response;
  exchange.worker = answer.worker;
  respond(gateway, exchange, answer);
}

function metadataOf(
  { req, url, authority, requestId, deadline, cancellation: signal, trace }: Exchange,
  isTrusted: boolean,
): Metadata {
  const fields = trace && traceFields(trace);
  const { headers, baggage } = requestHeaders(req.rawHeaders, req.headers.connection, authority, isTrusted, fields);
  return { url, method: req.method ?? 'GET', headers, baggage, requestId, deadline, signal };
}

/** Counts the body as the agent reads it, and breaks the exchange off above the limit (0 is none). */
function limitBody(exchange: Exchange, maxBytes: number): void {
  const { req, res, cancellation } = exchange;
  const tooLarge = () => new GatewayError('BODY_TOO_LARGE', `request body: expected at most ${maxBytes} bytes`);
  if (maxBytes > 0 && Number(req.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  // paused first: a 'data' listener alone would start the flow before anyone takes the bytes
  req.pause();
  req.on('data', (chunk: Buffer) => {
    exchange.bytesIn += chunk.length;
    if (maxBytes === 0 || exchange.bytesIn <= maxBytes || res.writableEnded) return;
    const error = tooLarge();
    exchange.error ??= error;
    cancellation.abort(error);
    if (res.headersSent) breakOff(exchange);
  });
}

/** Waits for the agent, its body unread, as long as the deadline and the client allow. */
function untilReady({ ready }: Gateway, { deadline, cancellation: signal }: Exchange): Promise<Agent> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      settle();
      reject(new GatewayError('UNAVAILABLE', 'no agent was ready before the deadline'));
    }, deadline - now());
    const onAbort = (): void => {
      settle();
      reject(signal.reason);
    };
    function settle(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
    signal.addEventListener('abort', onAbort);
    ready.then(agent => {
      settle();
      resolve(agent);
    });
  });
}
