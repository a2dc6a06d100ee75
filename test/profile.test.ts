import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { ConfigError } from '../src/errors.ts';
import { EMPTY_PROFILE, PROFILE_SCHEMA } from '../src/profile.ts';
import { loadProfile } from '../src/profile-load.ts';
import { profileSchema } from '../src/profile-schema.ts';
import { check } from '../src/schema.ts';
import { project, suite, write } from './helpers.ts';

const profile = suite('profile');

const FUNCTION = { name: 'a', runtime: 'nodejs', url: './a', handler: 'index.handler', signature: '1' };

function faultsOf(value: unknown): string[] {
  const file = join(project({}), 'noslate.json');
  write(file, JSON.stringify(value));
  try {
    loadProfile(file);
  } catch (error) {
    assert.instance(error, ConfigError);
    return (error as ConfigError).problems.map(problem => problem.slice(file.length + 2));
  }
  return [];
}

profile('should name the path of the bad field, what was expected and what was there', () => {
  const cases: [unknown, string][] = [
    [[], 'the file: expected an object, got []'],
    [{ functions: {} }, 'functions: expected a list, got {}'],
    [{ functions: [FUNCTION, 1] }, 'functions[1]: expected an object, got 1'],
    [
      { functions: [{ ...FUNCTION, worker: { reservationCount: '1' } }] },
      'functions[0].worker.reservationCount: expected a whole number ≥ 0, got "1"',
    ],
    [
      { functions: [{ ...FUNCTION, worker: { reservationCount: 1.5 } }] },
      'functions[0].worker.reservationCount: expected a whole number ≥ 0, got 1.5',
    ],
    [
      { functions: [{ ...FUNCTION, resourceLimit: { cpu: 0 } }] },
      'functions[0].resourceLimit.cpu: expected a number > 0 and ≤ 1, got 0',
    ],
    [
      { functions: [{ ...FUNCTION, runtime: 'nodejs-v16' }] },
      'functions[0].runtime: expected "nodejs" or "aworker", got "nodejs-v16"',
    ],
    [
      { functions: [{ ...FUNCTION, handler: 'a.b.c' }] },
      'functions[0].handler: expected a string like "index.handler", got "a.b.c"',
    ],
    [
      { functions: [{ ...FUNCTION, handler: undefined }] },
      'functions[0].handler: missing, expected a string like "index.handler"',
    ],
    [{ functions: [{ ...FUNCTION, sourceFile: 'x' }] }, 'functions[0].sourceFile: not allowed here'],
    [
      {
        functions: [
          { name: 'b', runtime: 'aworker', url: './a', signature: '1', sourceFile: 'x.js', initializer: 'a.b' },
        ],
      },
      'functions[0].initializer: not allowed here',
    ],
    [{ functions: [{ ...FUNCTION, name: '' }] }, 'functions[0].name: expected a string that is not empty, got ""'],
    [
      { functions: [{ ...FUNCTION, constructor: 1 }] },
      'functions[0].constructor: unknown key, expected one of name, runtime',
    ],
    [{ functions: [FUNCTION, FUNCTION] }, 'functions[1].name: "a" is the name of functions[0] already'],
    [
      { functions: [FUNCTION], routes: [{ path: 'x', function: 'a' }] },
      'routes[0].path: expected a string like "/todos/:id", got "x"',
    ],
    [
      { functions: [FUNCTION], routes: [{ function: 'b' }] },
      'routes[0].function: expected a name from functions, got "b"',
    ],
    [
      { functions: [FUNCTION], routes: [{ path: '/x', function: ':name' }] },
      'routes[0].function: expected a parameter of the path "/x", got ":name"',
    ],
    [{ environments: [{ key: 'NOSLATED_X', value: '' }] }, 'environments[0].key: "NOSLATED_X" is reserved'],
    [{ environments: [{ key: 'A', value: 1 }] }, 'environments[0].value: expected a string, got 1'],
    [{ dispatchHeader: 'not a header' }, 'dispatchHeader: expected a string like'],
    [
      { functions: [FUNCTION], credentials: [FUNCTION.name, 'x'] },
      'credentials[1]: expected a name from functions, got "x"',
    ],
    [{ functions: [FUNCTION], credentials: FUNCTION.name }, 'credentials: expected a list'],
    [{ service: [] }, 'service: unknown key, did you mean services?'],
    [{ plugins: [] }, 'plugins: unknown key, expected one of $schema, functions, services, routes'],
    [
      { functions: [{ ...FUNCTION, worker: { replicaCount: 1 } }] },
      'functions[0].worker.replicaCount: unknown key, expected one of',
    ],
    [
      { functions: [{ ...FUNCTION, url: 'file://relative/a' }] },
      'functions[0].url: expected a path, file:///PATH or http(s)://..., got "file://relative/a"',
    ],
    [{ functions: [{ ...FUNCTION, url: 'ftp://host/a.zip' }] }, 'functions[0].url: expected a path'],
  ];
  for (const [value, expected] of cases) {
    const faults = faultsOf(value);
    assert.ok(
      faults.some(fault => fault.startsWith(expected)),
      `expected ${expected}\ngot ${faults.join('\n')}`,
    );
    assert.is(faults.length, 1, faults.join('\n'));
  }
});

profile('should name the path of the bad field of a service or of a route to one', () => {
  const one = { name: 's', type: 'default', selector: { functionName: 'a' } };
  const share = { selector: { functionName: 'a' }, proportion: 0.5 };
  const many = { name: 's', type: 'proportional-load-balance', selectors: [share] };
  const shares = (...selectors: unknown[]): unknown => ({ ...many, selectors });
  const services: [unknown, string][] = [
    [1, 'services[0]: expected an object, got 1'],
    [{ ...one, name: '' }, 'services[0].name: expected a string that is not empty, got ""'],
    [{ ...one, name: undefined }, 'services[0].name: missing, expected a string that is not empty'],
    [{ ...one, type: 'random' }, 'services[0].type: expected "default" or "proportional-load-balance", got "random"'],
    [{ ...one, type: undefined }, 'services[0].type: missing, expected "default" or "proportional-load-balance"'],
    [{ ...one, selector: undefined }, 'services[0].selector: missing, expected an object'],
    [{ ...one, selectors: [share] }, 'services[0].selectors: not allowed here'],
    [{ ...one, weight: 1 }, 'services[0].weight: unknown key, expected one of name, type, selector, selectors'],
    [{ ...one, selector: {} }, 'services[0].selector.functionName: missing, expected a string that is not empty'],
    [
      { ...one, selector: { functionName: 'a', version: '1' } },
      'services[0].selector.version: unknown key, expected one of functionName',
    ],
    [
      { ...one, selector: { functionName: 'b' } },
      'services[0].selector.functionName: expected a name from functions, got "b"',
    ],
    [{ ...many, selectors: undefined }, 'services[0].selectors: missing, expected a list that is not empty'],
    [{ ...many, selector: { functionName: 'a' } }, 'services[0].selector: not allowed here'],
    [shares(), 'services[0].selectors: expected a list that is not empty, got []'],
    [shares({ proportion: 1 }), 'services[0].selectors[0].selector: missing, expected an object'],
    [
      shares(share, { selector: share.selector }),
      'services[0].selectors[1].proportion: missing, expected a number ≥ 0 and ≤ 1',
    ],
    [
      shares({ ...share, proportion: -0.1 }),
      'services[0].selectors[0].proportion: expected a number ≥ 0 and ≤ 1, got -0.1',
    ],
    [
      shares({ ...share, proportion: 1.1 }),
      'services[0].selectors[0].proportion: expected a number ≥ 0 and ≤ 1, got 1.1',
    ],
    [
      shares({ ...share, proportion: '1' }),
      'services[0].selectors[0].proportion: expected a number ≥ 0 and ≤ 1, got "1"',
    ],
    [
      shares({ ...share, weight: 1 }),
      'services[0].selectors[0].weight: unknown key, expected one of selector, proportion',
    ],
    [
      shares(share, { ...share, selector: { functionName: 'b' } }),
      'services[0].selectors[1].selector.functionName: expected a name from functions, got "b"',
    ],
  ];
  for (const [service, expected] of services)
    assert.equal(faultsOf({ functions: [FUNCTION], services: [service] }), [expected]);

  assert.equal(faultsOf({ functions: [FUNCTION], services: [one, { ...many, name: 't' }, many] }), [
    'services[2].name: "s" is the name of services[0] already',
  ]);

  const routes: [unknown, string][] = [
    [{ path: '/x' }, 'routes[0]: expected exactly one of function, service, got none'],
    [
      { path: '/x', function: 'a', service: 's' },
      'routes[0]: expected exactly one of function, service, got function, service',
    ],
    [{ service: '' }, 'routes[0].service: expected a string that is not empty, got ""'],
    [{ service: 'a' }, 'routes[0].service: expected a name from services, got "a"'],
    [{ function: 's' }, 'routes[0].function: expected a name from functions, got "s"'],
    [{ path: '/x', service: ':s' }, 'routes[0].service: expected a parameter of the path "/x", got ":s"'],
  ];
  for (const [route, expected] of routes)
    assert.equal(faultsOf({ functions: [FUNCTION], services: [one], routes: [route] }), [expected]);
});

profile('should take services of both types, also one that has the name of a function', () => {
  const services = [
    { name: 'a', type: 'default', selector: { functionName: 'a' } },
    {
      name: 'canary',
      type: 'proportional-load-balance',
      selectors: [
        { selector: { functionName: 'a' }, proportion: 0 },
        { selector: { functionName: 'b' }, proportion: 1 },
      ],
    },
  ];
  const routes = [{ path: '/a', service: 'a' }, { path: '/s/:name', service: ':name' }, { function: 'a' }];
  const file = join(project({}), 'noslate.json');
  write(file, JSON.stringify({ functions: [FUNCTION, { ...FUNCTION, name: 'b' }], services, routes }));
  const loaded = loadProfile(file);
  assert.equal([loaded.services, loaded.routes], [services, routes]);
  write(file, '{}');
  assert.equal(loadProfile(file), EMPTY_PROFILE);
});

profile('should report every fault at once', () => {
  assert.is(faultsOf({ functions: [{ name: 1 }], routes: 1, extra: 2 }).length, 6);
});

profile('should resolve paths against the file and leave the rest as it stands', () => {
  const file = join(project({}), 'noslate.json');
  const functions = [
    FUNCTION,
    { ...FUNCTION, name: 'b', url: '/abs' },
    { ...FUNCTION, name: 'c', url: 'https://x/y.zip' },
  ];
  write(file, JSON.stringify({ functions, dispatchHeader: 'X-Dispatch' }));
  const loaded = loadProfile(file);
  assert.equal(
    loaded.functions.map(({ url }) => url),
    [pathToFileURL(join(dirname(file), 'a')).href, 'file:///abs', 'https://x/y.zip'],
  );
  assert.equal(Object.keys(loaded.functions[0] ?? {}).sort(), ['handler', 'name', 'runtime', 'signature', 'url']);
  assert.is(loaded.dispatchHeader, 'x-dispatch');
});

profile('should hold for the examples, and editors get the same table', () => {
  assert.equal(check(JSON.parse(readFileSync('examples/noslate.json', 'utf8')), PROFILE_SCHEMA), []);
  const text = readFileSync('noslate.schema.json', 'utf8');
  const { $schema, title, ...described } = JSON.parse(text) as Record<string, unknown>;
  assert.match(String($schema), 'json-schema.org');
  assert.is(title, 'noslate.json');
  const { properties } = described as { properties: Record<string, { description: string }> };
  assert.is(properties['environments']?.description, 'for every function');
  assert.equal(JSON.parse(JSON.stringify(profileSchema())), described);
  const schema: unknown = JSON.parse(text, (_, value) => {
    if (typeof value?.description === 'string') delete value.description;
    return value;
  });
  assert.equal(schema, { $schema, title, ...JSON.parse(JSON.stringify(PROFILE_SCHEMA)) });
});

profile.run();
