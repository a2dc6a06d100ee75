import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { GatewayError } from '../src/errors.ts';
import type { Exchange } from '../src/gateway.ts';
import type { Profile, Route } from '../src/profile.ts';
import { createRouter, kindOf, urlOf } from '../src/router.ts';
import type { Target } from '../src/target.ts';
import { suite } from './helpers.ts';

const PATHS = { hooks: 'path', healthPath: undefined, readyPath: undefined } as const;

interface Asked {
  method?: string;
  url?: string;
  headers?: IncomingHttpHeaders;
}

const requestOf = ({ method = 'GET', url = '/', headers = {} }: Asked): IncomingMessage =>
  ({ method, url, headers }) as IncomingMessage;

function exchangeOf(asked: Asked): Exchange {
  const req = requestOf(asked);
  const url = urlOf(req);
  return { req, url, kind: kindOf(req, url, PATHS) } as Exchange;
}

function profileOf(names: string[], routes: Route[], dispatchHeader?: string): Profile {
  const functions = names.map(name => ({
    name,
    runtime: 'nodejs' as const,
    url: 'file:///x',
    signature: '1',
    handler: 'a.b',
  }));
  return {
    functions,
    services: [],
    routes,
    environments: [],
    ...(dispatchHeader === undefined ? {} : { dispatchHeader }),
  };
}

function refusal(profile: Profile, asked: Asked, explain: boolean): string {
  try {
    createRouter(profile, explain)(exchangeOf(asked));
  } catch (error) {
    assert.instance(error, GatewayError);
    assert.is((error as GatewayError).code, 'ROUTE_NOT_FOUND');
    return (error as Error).message;
  }
  throw new Error('not refused');
}

const kind = suite('kindOf');

kind('should trust the control path before the path', () => {
  const cases: [string, string, string, string][] = [
    ['/initialize', 'POST', '/initialize', 'initialize'],
    ['/pre-freeze', 'GET', '/anything', 'pre-freeze'],
    ['/pre-stop', 'GET', '/pre-stop', 'pre-stop'],
    ['/invoke', 'POST', '/invoke', 'event'],
    ['/http-invoke', 'GET', '/pre-stop', 'http'],
    ['/http-invoke', 'POST', '/initialize', 'http'],
    ['/unknown', 'POST', '/invoke', 'http'],
    ['constructor', 'POST', '/invoke', 'http'],
    ['', 'POST', '/invoke', 'event'],
  ];
  for (const [control, method, url, expected] of cases) {
    assert.is(
      kindOf(requestOf({ method, url, headers: { 'x-fc-control-path': control } }), url, PATHS),
      expected,
      `${control} ${method} ${url}`,
    );
  }
});

kind('should go by method and path without one', () => {
  const cases: [string, string, string][] = [
    ['POST', '/initialize', 'initialize'],
    ['POST', '/initialize?a=b', 'initialize'],
    ['GET', '/pre-freeze', 'pre-freeze'],
    ['GET', '/pre-stop', 'pre-stop'],
    ['POST', '/invoke', 'event'],
    ['GET', '/invoke', 'http'],
    ['GET', '/initialize', 'http'],
    ['POST', '/invoke/x', 'http'],
    ['POST', '/pre-stop', 'http'],
  ];
  for (const [method, url, expected] of cases)
    assert.is(kindOf(requestOf({ method, url }), url, PATHS), expected, `${method} ${url}`);
});

kind('should take for a hook only what may ask for one', () => {
  const cases = [
    ['control-path', '/pre-stop', '/', 'pre-stop'],
    ['control-path', undefined, '/pre-stop', 'http'],
    ['off', '/pre-stop', '/pre-stop', 'http'],
    ['off', undefined, '/pre-freeze', 'http'],
    ['off', '/invoke', '/', 'event'],
  ] as const;
  for (const [hooks, control, url, expected] of cases) {
    const headers = control === undefined ? {} : { 'x-fc-control-path': control };
    assert.is(kindOf(requestOf({ url, headers }), url, { ...PATHS, hooks }), expected, `${hooks} ${control} ${url}`);
  }
  const post = requestOf({ method: 'POST', url: '/invoke' });
  assert.is(kindOf(post, '/invoke', { ...PATHS, hooks: 'off' }), 'event');
});

kind.run();

const url = suite('urlOf');

url('should give the origin form, without the proxy prefix of FC 2.0', () => {
  const cases: [string, string][] = [
    ['/a?b=c', '/a?b=c'],
    ['http://host/a?b', '/a?b'],
    ['http://host', '/'],
    ['http://host?b', '/?b'],
    ['*', '*'],
    ['/2016-08-15/proxy/svc/fn/a?b', '/a?b'],
    ['/2016-08-15/proxy/svc.LATEST/fn', '/'],
    ['/2016-08-15/proxy/svc/fn?b', '/?b'],
    ['/2016-08-15/proxy/svc', '/2016-08-15/proxy/svc'],
    ['//host/a', '//host/a'],
  ];
  for (const [given, expected] of cases) assert.is(urlOf(requestOf({ url: given })), expected, given);
});

url.run();

const router = suite('createRouter');

router('should try routes in order and fill in parameters', () => {
  const find = createRouter(
    profileOf(
      ['img', 'any', 'ev', 'post', 'fc', 'host', 'deep'],
      [
        { event: true, function: 'ev' },
        { path: '/img/*', function: 'img' },
        { path: '/a.b', method: 'POST', function: 'post' },
        { fcFunction: 'x', function: 'fc' },
        { host: 'Example.com', function: 'host' },
        { path: '/x/:id/y', function: 'deep' },
        { path: '/run/:name', function: ':name' },
        { event: false, path: '/*', function: 'any' },
      ],
    ),
    false,
  );
  const cases: [Asked, string][] = [
    [{ method: 'POST', url: '/invoke' }, 'ev'],
    [{ url: '/img/a/b.png?x' }, 'img'],
    [{ url: '/img/' }, 'img'],
    [{ url: '/img' }, 'any'],
    [{ method: 'POST', url: '/a.b' }, 'post'],
    [{ method: 'POST', url: '/aXb' }, 'any'],
    [{ url: '/a.b' }, 'any'],
    [{ headers: { 'x-fc-function-name': 'x' } }, 'fc'],
    [{ headers: { host: 'example.COM:9000' } }, 'host'],
    [{ url: '/x/1/y' }, 'deep'],
    [{ url: '/x/1/2/y' }, 'any'],
    [{ url: '/run/hel%20lo' }, 'hel lo'],
    [{ url: '/run/%ff' }, 'any'],
    [{ url: '/run/' }, 'any'],
  ];
  for (const [asked, name] of cases)
    assert.equal(find(exchangeOf(asked)), { type: 'function', name }, JSON.stringify(asked));
});

router('should lead to services as to functions', () => {
  const find = createRouter(
    profileOf(['f'], [{ path: '/canary', service: 's' }, { path: '/of/:name', service: ':name' }, { function: 'f' }]),
    false,
  );
  const cases: [string, Target][] = [
    ['/canary', { type: 'service', name: 's' }],
    ['/of/hel%20lo', { type: 'service', name: 'hel lo' }],
    ['/of/%ff', { type: 'function', name: 'f' }],
    ['/', { type: 'function', name: 'f' }],
  ];
  for (const [url, expected] of cases) assert.equal(find(exchangeOf({ url })), expected, url);
});

router('should give a fixed route’s target without making one for each request', () => {
  for (const [routes, url] of [
    [[{ path: '/s', service: 's' }], '/s'],
    [[{ path: '/f', function: 'f' }], '/f'],
    [[], '/'],
  ] as [Route[], string][]) {
    const find = createRouter(profileOf(['f'], routes), false);
    assert.is(find(exchangeOf({ url })), find(exchangeOf({ url })));
  }
});

router('should serve everything with the only function, else by x-fc-function-name', () => {
  assert.is(createRouter(profileOf(['one'], []), false)(exchangeOf({ url: '/x' })).name, 'one');
  const two = profileOf(['one', 'two'], []);
  assert.is(createRouter(two, false)(exchangeOf({ headers: { 'x-fc-function-name': 'two' } })).name, 'two');
  assert.match(refusal(two, { headers: { 'x-fc-function-name': 'three' } }, true), 'one of one, two');
});

router('should say which routes exist only where it may', () => {
  const profile = profileOf(
    ['one'],
    [
      { path: '/one', function: 'one' },
      { path: '/s', service: 's' },
    ],
  );
  assert.is(refusal(profile, { url: '/two' }, true), 'no route for GET /two; routes: /one → one, /s → service:s');
  assert.is(refusal(profile, { url: '/two?secret' }, false), 'no route for GET /two');
  assert.match(refusal(profileOf([], []), {}, true), 'there are no functions');
});

router('should let the dispatch header name the function or the service', () => {
  const find = createRouter(profileOf(['one', 'two'], [{ function: 'one' }], 'x-dispatch'), false);
  const cases: [string, Target][] = [
    ['function:two', { type: 'function', name: 'two' }],
    ['two', { type: 'function', name: 'two' }],
    ['service:two', { type: 'service', name: 'two' }],
    ['function:service:two', { type: 'function', name: 'service:two' }],
    ['service:', { type: 'service', name: '' }],
    ['', { type: 'function', name: 'one' }],
  ];
  for (const [value, expected] of cases)
    assert.equal(find(exchangeOf({ headers: { 'x-dispatch': value } })), expected, value);
  assert.equal(find(exchangeOf({})), { type: 'function', name: 'one' });
});

router('should take the first route that matches, whatever kinds of paths stand before it', () => {
  const paths = fc.constantFrom('/a', '/b', '/a/*', '/:any', '/*');
  const routes = fc.array(fc.record({ path: paths, method: fc.constantFrom('GET', 'POST') }), { minLength: 1 });
  fc.assert(
    fc.property(routes, fc.constantFrom('/a', '/b', '/a/b'), (list, url) => {
      const matching = ['/*', ...(url === '/a/b' ? ['/a/*'] : [url, '/:any'])];
      const first = list.findIndex(({ path, method }) => method === 'GET' && matching.includes(path));
      const made: Route[] = [...list.map((route, i) => ({ ...route, function: `f${i}` })), { function: 'last' }];
      const names = made.map(route => route.function ?? '');
      const { name } = createRouter(profileOf(names, made), false)(exchangeOf({ url }));
      assert.is(name, first < 0 ? 'last' : `f${first}`);
    }),
  );
});

router.run();
