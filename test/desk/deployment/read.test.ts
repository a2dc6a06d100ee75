// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables of Serverless Devs
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { Deployed } from '../../../src/desk/deployment/deployed.ts';
import { type Reading, readDeployment } from '../../../src/desk/deployment/read.ts';
import { remarkText } from '../../../src/desk/deployment/remarks.ts';
import { table, tableLines } from '../../../src/desk/deployment/table.ts';
import { suite } from '../../helpers.ts';

const deployment = suite('s.yaml');

/** A file of one function, with these lines among its props. */
const fc3 = (...lines: string[]): string =>
  [
    'edition: 3.0.0',
    'vars: { seconds: 7, name: shop, deep: { region: cn-beijing }, again: "${vars.again}" }',
    'resources:',
    '  app:',
    '    component: fc3',
    '    props:',
    '      functionName: app',
    '      runtime: custom-container',
    ...lines.map(line => `      ${line}`),
    '',
  ].join('\n');

const read = (text: string, chosen?: string, environment: Record<string, string> = {}): Reading =>
  readDeployment(text, chosen, environment);

/** Its remarks, each as it is shown with `error` or `warning` in front. */
const remarks = (reading: Reading): string[] =>
  reading.remarks.map(item => `${item.kind} ${remarkText('s.yaml', item)}`);

deployment('should give all that the sample of FC 3.0 says', () => {
  const reading = read(readFileSync('examples/fc/s.yaml', 'utf8'));
  assert.equal(reading.place, 'resources.app');
  assert.equal(reading.deployed, {
    flavour: '3.0',
    name: 'noslate-app',
    region: 'cn-hangzhou',
    role: false,
    memory: 1024,
    cpu: 1,
    timeout: 60,
    instanceConcurrency: 20,
    environment: { SERVER_HEALTH_PATH: '/healthz', SERVER_DRAIN_TIMEOUT: '10' },
    initializer: { timeout: 60 },
    preStop: { timeout: 15 },
    healthCheck: {
      httpGetUrl: '/healthz',
      initialDelaySeconds: 1,
      periodSeconds: 3,
      timeoutSeconds: 1,
      failureThreshold: 3,
      successThreshold: 1,
    },
    port: 9000,
    triggers: [
      {
        name: 'http',
        type: 'http',
        authType: 'anonymous',
        methods: ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH', 'OPTIONS'],
      },
    ],
  });
  assert.equal(remarks(reading), [
    'warning s.yaml:48: resources.app.props.logConfig: not played here: what the container prints is printed',
  ]);
});

deployment('should give all that the sample of FC 2.0 says', () => {
  const { place, deployed, remarks: found } = read(readFileSync('examples/fc/s-2.0.yaml', 'utf8'));
  assert.is(place, 'services.app');
  assert.equal(
    [deployed?.flavour, deployed?.name, deployed?.service, deployed?.port, deployed?.role],
    ['2.0', 'noslate-app', 'noslate', 9000, true],
  );
  assert.equal(
    [deployed?.initializer, deployed?.preFreeze, deployed?.preStop],
    [{ timeout: 60 }, { timeout: 5 }, { timeout: 15 }],
  );
  assert.equal(deployed?.environment['SERVER_FC_LOG'], 'on');
  assert.is(deployed?.healthCheck?.httpGetUrl, '/healthz');
  assert.equal(deployed?.triggers[0]?.methods?.length, 7);
  assert.equal(
    found.map(({ field, line }) => [field, line]),
    [['services.app.props.service.logConfig', 16]],
  );
});

deployment('should take FC’s defaults where nothing is said', () => {
  const { deployed } = read(fc3());
  assert.equal(deployed, {
    flavour: '3.0',
    name: 'app',
    role: false,
    timeout: 3,
    environment: {},
    triggers: [],
  });
  const hooks = read(fc3('instanceLifecycleConfig: { initializer: { handler: "true" } }')).deployed;
  assert.equal(hooks?.initializer, { timeout: 3 });
  const again = read(fc3('asyncInvokeConfig: { maxAsyncRetryAttempts: 0 }')).deployed;
  assert.equal([again?.asyncRetries, again?.asyncMaxAge], [0, 18_000]);
});

deployment('should name line, field and what was expected of each error', () => {
  // biome-ignore format: a table
  const cases: [string, string][] = [
    ['memorySize: 500', '9: resources.app.props.memorySize: expected a multiple of 64 from 128 to 32768, got 500'],
    ['memorySize: "512"', '9: resources.app.props.memorySize: expected a multiple of 64 from 128 to 32768, got "512"'],
    ['memorySize: [512]', '9: resources.app.props.memorySize: expected a multiple of 64 from 128 to 32768, got a list'],
    ['cpu: 0.12', '9: resources.app.props.cpu: expected a multiple of 0.05 from 0.05 to 16, got 0.12'],
    ['timeout: 0', '9: resources.app.props.timeout: expected a whole number from 1 to 86400, got 0'],
    ['timeout: 1.5', '9: resources.app.props.timeout: expected a whole number from 1 to 86400, got 1.5'],
    ['timeout:', '9: resources.app.props.timeout: expected a whole number from 1 to 86400, got null'],
    ['instanceConcurrency: 201', '9: resources.app.props.instanceConcurrency: expected a whole number from 1 to 200, got 201'],
    ['environmentVariables: [A]', '9: resources.app.props.environmentVariables: expected a map, got a list'],
    ['environmentVariables: { 1A: x }', '9: resources.app.props.environmentVariables.1A: expected a name of letters, digits and "_"'],
    ['environmentVariables: { FC_X: x }', '9: resources.app.props.environmentVariables.FC_X: FC keeps names that begin with FC_ for itself'],
    ['environmentVariables: { A: { b: c } }', '9: resources.app.props.environmentVariables.A: expected text, got a map'],
    [`environmentVariables: { A: ${'x'.repeat(4096)} }`, '9: resources.app.props.environmentVariables: expected at most 4096 bytes of variables, got 4097'],
    ['functionName: ""', '9: Map keys must be unique'],
    ['region: 5', '9: resources.app.props.region: expected text, got 5'],
    ['internetAccess: maybe', '9: resources.app.props.internetAccess: expected true or false, got "maybe"'],
    ['customContainerConfig: { port: 70000 }', '9: resources.app.props.customContainerConfig.port: expected a whole number from 1 to 65535, got 70000'],
    ['customContainerConfig: { healthCheckConfig: { httpGetUrl: healthz } }', '9: resources.app.props.customContainerConfig.healthCheckConfig.httpGetUrl: expected a path that starts with "/", of at most 2048 characters'],
    ['customContainerConfig: { healthCheckConfig: { periodSeconds: 3 } }', '9: resources.app.props.customContainerConfig.healthCheckConfig: httpGetUrl: missing, expected a path'],
    ['customContainerConfig: { healthCheckConfig: { httpGetUrl: /h, timeoutSeconds: 4 } }', '9: resources.app.props.customContainerConfig.healthCheckConfig.timeoutSeconds: expected a whole number from 1 to 3, got 4'],
    ['instanceLifecycleConfig: { initializer: { timeout: 301 } }', '9: resources.app.props.instanceLifecycleConfig.initializer.timeout: expected a whole number from 1 to 300, got 301'],
    ['asyncInvokeConfig: { maxAsyncRetryAttempts: 9 }', '9: resources.app.props.asyncInvokeConfig.maxAsyncRetryAttempts: expected a whole number from 0 to 8, got 9'],
    ['triggers: { http: x }', '9: resources.app.props.triggers: expected a list, got a map'],
    ['triggers: [{ triggerName: x }]', '9: resources.app.props.triggers[0]: expected triggerName, triggerType and triggerConfig'],
    ['triggers: [{ triggerName: x, triggerType: http, triggerConfig: { methods: [GRAB] } }]', '9: resources.app.props.triggers[0].triggerConfig.methods[0]: expected GET or POST or PUT or DELETE or HEAD or PATCH or OPTIONS, got "GRAB"'],
    ['timeout: "${vars.name}"', '9: resources.app.props.timeout: expected a whole number from 1 to 86400, got "shop"'],
    ['timeout: *nowhere', '9: resources.app.props.timeout: expected an anchor &nowhere above, found none'],
    ['timeout: [1', '10: Flow sequence in block collection must be sufficiently indented and end with a ]'],
  ];
  for (const [line, message] of cases) {
    const found = remarks(read(fc3(line))).filter(text => text.startsWith('error'));
    assert.equal(found[0], `error s.yaml:${message}`, line);
  }
});

deployment('should say what it does not play, and where', () => {
  // biome-ignore format: a table
  const cases: [string, string][] = [
    ['vpcConfig: auto', "vpcConfig: not played here: the container has this machine's network"],
    ['nasConfig: auto', "nasConfig: not played here: the container has this machine's files"],
    ['logConfig: auto', 'logConfig: not played here: what the container prints is printed'],
    ['gpuConfig: { gpuMemorySize: 1024 }', 'gpuConfig: not played here: there is no GPU'],
    ['layers: [a]', 'layers: not played here: a container has none'],
    ['memorysize: 512', 'memorysize: unknown key, did you mean memorySize?'],
    ['internetAccess: false', "internetAccess: not played here: the container has this machine's network"],
    ['customContainerConfig: { entrypoint: [x] }', 'customContainerConfig.entrypoint: not played here: what runs here is noslate-fc, or what --command says'],
    ['instanceLifecycleConfig: { preFreeze: { timeout: 3 } }', 'instanceLifecycleConfig.preFreeze: not played here: FC 3.0 has no such hook'],
    ['asyncInvokeConfig: { destinationConfig: {} }', 'asyncInvokeConfig.destinationConfig: not played here: results go nowhere'],
    ['triggers: [{ triggerName: x, triggerType: http, triggerConfig: { authType: function } }]', 'triggers[0].triggerConfig.authType: not played here: FC takes calls with function authentication alone'],
    ['triggers: [{ triggerName: x, triggerType: timer, triggerConfig: {} }]', 'triggers[0].triggerType: a trigger of timer is not fired here: noslate-fc event timer prints such an event'],
    ['triggers: [{ triggerName: x, triggerType: odd, triggerConfig: {} }]', 'triggers[0].triggerType: a trigger of odd is not fired here'],
    ['environmentVariables: { A: 5 }', 'environmentVariables.A: expected text, got a number: put it in quotes, the tool may refuse it'],
  ];
  for (const [line, message] of cases) {
    assert.equal(remarks(read(fc3(line))), [`warning s.yaml:9: resources.app.props.${message}`], line);
  }
  const ratio = remarks(read(fc3('memorySize: 512', 'cpu: 1')));
  assert.equal(ratio, [
    'warning s.yaml:10: resources.app.props.cpu: expected 1 to 4 GB of memory for each vCPU, got 512 MB for 1',
  ]);
  assert.equal(read(fc3('environmentVariables: { A: 5 }')).deployed?.environment, { A: '5' });
});

deployment('should fill in variables where it can, and say where it cannot', () => {
  const environment = { SECONDS: '30', WHERE: 'cn-shanghai' };
  // biome-ignore format: a table
  const cases: [string, unknown][] = [
    ['timeout: ${vars.seconds}', 7],
    ['timeout: ${env(SECONDS)}', 30],
    [`timeout: \${env('SECONDS')}`, 30],
    ['timeout: ${env("SECONDS", "5")}', 30],
    [`timeout: \${env(NONE, '5')}`, 5],
    ['region: ${vars.deep.region}', 'cn-beijing'],
    ['region: "${env(WHERE)}-${vars.name}"', 'cn-shanghai-shop'],
  ];
  for (const [line, value] of cases) {
    const reading = read(fc3(line), undefined, environment);
    assert.equal(remarks(reading), [], line);
    assert.ok(Object.values(reading.deployed ?? {}).includes(value), `${line}: ${JSON.stringify(reading.deployed)}`);
  }
  // biome-ignore format: a table
  const faults: [string, string][] = [
    ['timeout: ${env(NONE)}', 'timeout: ${env(NONE)}: NONE is not set here; this is left out'],
    ['timeout: ${vars.none}', 'timeout: ${vars.none}: expected vars.none in the file, found none; this is left out'],
    ['timeout: ${vars.deep}', 'timeout: ${vars.deep}: expected text or a number in vars.deep, got a branch; this is left out'],
    ['region: ${config(AccountID)}', 'region: ${config(AccountID)}: is not filled in here, but ${env(NAME)} and ${vars.name} are; this is left out'],
    ['region: ${vars.again}', 'region: ${vars.again}: has no end; this is left out'],
    ['region: "${half"', 'region: ${half: expected a variable like ${env(NAME)} or ${vars.name}'],
  ];
  for (const [line, message] of faults) {
    const reading = read(fc3(line));
    assert.equal(remarks(reading), [`warning s.yaml:9: resources.app.props.${message}`], line);
    assert.equal([reading.deployed?.timeout, reading.deployed?.region], [3, undefined], line);
  }
  // what is not played need not be filled in
  assert.equal(remarks(read(fc3('customContainerConfig: { image: "${env(IMAGE)}" }'))), []);
  // a role that is known elsewhere is one nevertheless
  assert.is(read(fc3('role: ${env(ROLE)}')).deployed?.role, true);
});

deployment('should never show the value of a variable', () => {
  const secret = 'h7-very-secret';
  const texts = [
    fc3(`environmentVariables: { A: ${secret}, B: [${secret}], C: { d: ${secret} }, 1D: ${secret}, FC_E: ${secret} }`),
    fc3(`environmentVariables: { A: "${secret}\${env(NONE)}" }`),
    fc3(`environmentVariables: { A: ${secret}, A: ${secret} }`),
    fc3(`environmentVariables: { A: "${secret} }`),
    fc3(`environmentVariables: { A: ${secret}: ${secret}: }`),
    fc3(`role: ${secret}`),
  ];
  for (const text of texts) {
    const reading = read(text);
    const shown = [...remarks(reading), JSON.stringify(reading.deployed && table(reading.deployed))].join('\n');
    assert.not.ok(shown.includes(secret), shown);
  }
});

deployment('should show what it has taken in lines of a terminal’s width', () => {
  const { deployed } = read(readFileSync('examples/fc/s.yaml', 'utf8'));
  assert.equal(deployed && tableLines(table(deployed)), [
    'function noslate-app, region cn-hangzhou, memory 1024 MB, cpu 1, timeout 60 s, concurrency 20',
    'initializer 60 s, pre-stop 15 s, health check /healthz, port 9000 (here a free one), role none',
    'variables SERVER_HEALTH_PATH SERVER_DRAIN_TIMEOUT',
    'triggers http (http, anonymous, GET POST PUT DELETE HEAD PATCH OPTIONS)',
  ]);
  assert.ok(deployed && table(deployed, 9000).some(row => row.join() === 'port,9000'));
});

/** Several functions, and what is none. */
const MANY = `
resources:
  domain: { component: fc3-domain, props: {} }
  old: { component: fc3, props: { functionName: one, runtime: nodejs20 } }
  a: { component: devsapp/fc3@0.1.2, props: { functionName: "\${env(NAME)}", runtime: custom-container } }
  b: { component: fc3, props: { functionName: two, runtime: custom-container } }
`;

deployment('should choose a function by its name or its key', () => {
  const others = [
    'warning s.yaml:3: resources.domain.component: not played here: fc3-domain, but fc3 and fc are',
    'warning s.yaml:4: resources.old.props.runtime: not played here: nodejs20, but custom-container is',
  ];
  const environment = { NAME: 'three' };
  for (const [chosen, place] of [
    ['three', 'resources.a'],
    ['a', 'resources.a'],
    ['two', 'resources.b'],
  ] as const) {
    const reading = read(MANY, chosen, environment);
    assert.is(reading.place, place);
    assert.equal(remarks(reading), others);
  }
  const error = (message: string): string => `error s.yaml:2: resources: ${message}`;
  assert.ok(remarks(read(MANY, undefined, environment)).includes(error('expected --function with one of three, two')));
  assert.ok(
    remarks(read(MANY, 'one', environment)).includes(error('--function: expected one of three, two, got "one"')),
  );
});

deployment('should say what a file without a function lacks', () => {
  // biome-ignore format: a table
  const cases: [string, string[]][] = [
    ['', ['error s.yaml:1: expected resources, or services of edition 1, as a map']],
    ['hello', ['error s.yaml:1: expected resources, or services of edition 1, as a map']],
    ['edition: 3.0.0', ['error s.yaml:1: expected resources, or services of edition 1, as a map']],
    ['a: 1\nresources: []', ['error s.yaml:2: resources: expected resources, or services of edition 1, as a map']],
    ['resources:\n  x: { component: fc3 }', ['warning s.yaml:1: resources: expected a function whose runtime is custom-container, found none', 'error s.yaml:2: resources.x: expected component and props']],
    ['resources:\n  x: { component: fc3, props: {} }', ['warning s.yaml:1: resources: expected a function whose runtime is custom-container, found none', 'error s.yaml:2: resources.x.props: runtime: missing, expected custom-container']],
    ['resources: {}\n---\nresources: {}', ['error s.yaml:2: Source contains multiple documents; please use YAML.parseAllDocuments()']],
  ];
  for (const [text, expected] of cases) assert.equal(remarks(read(text)), expected, text);
  assert.is(read('resources:\n  x: { component: fc3, props: { runtime: custom } }').deployed, undefined);
});

deployment('should follow anchors and merged maps, and no alias without end', () => {
  const text = `
x-common: &common
  runtime: custom-container
  timeout: 9
  memorySize: &size 640
resources:
  app:
    component: fc3
    props:
      <<: *common
      functionName: app
      timeout: 11
      environmentVariables: { SIZE: *size }
`;
  const reading = read(text);
  assert.equal([reading.deployed?.timeout, reading.deployed?.memory], [11, 640]);
  assert.equal(reading.deployed?.environment, { SIZE: '640' });
  const loop = read('resources: &all\n  app: *all\n');
  assert.match(remarks(loop).join(), /^error s\.yaml:2: resources\.app: alias \*all has no end$/);
  const doubled = Array.from({ length: 40 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`);
  const bomb = read(['a0: &a0 [x]', ...doubled].join('\n'));
  assert.match(remarks(bomb).join(), /^error s\.yaml:\d+: \S+: expected at most 20000 values$/);
});

deployment('should play session affinity as FC 3.0 has it', () => {
  const header = read(
    fc3(
      'instanceConcurrency: 20',
      'sessionAffinity: HEADER_FIELD',
      'sessionAffinityConfig:',
      '  affinityHeaderFieldName: my-session',
      '  sessionConcurrencyPerInstance: 30',
      '  sessionTTLInSeconds: 3600',
      '  sessionIdleTimeoutInSeconds: 60',
    ),
  );
  assert.equal(header.deployed?.sessionAffinity, {
    by: 'header',
    header: 'my-session',
    perInstance: 30,
    ttl: 3600,
    idle: 60,
  });
  assert.equal(remarks(header), [
    'warning s.yaml:9: resources.app.props.instanceConcurrency: FC makes it 200 with session affinity',
  ]);
  assert.ok(
    tableLines(table(header.deployed as Deployed))
      .join()
      .includes('sessions by my-session, 30 per instance, 3600 s, idle 60 s'),
  );

  const alone = read(fc3('sessionAffinity: GENERATED_COOKIE', 'instanceIsolationMode: SESSION_EXCLUSIVE'));
  assert.equal([alone.deployed?.sessionAffinity, remarks(alone)], [{ by: 'cookie', perInstance: 1 }, []]);
  assert.equal(read(fc3('sessionAffinity: MCP_STREAMABLE')).deployed?.sessionAffinity, { by: 'mcp' });
  assert.is(read(fc3('sessionAffinity: NONE')).deployed?.sessionAffinity, undefined);

  for (const [lines, text] of [
    [['sessionAffinity: MCP_SSE'], /^warning .*sessionAffinity: not played here/],
    [['sessionAffinity: STICKY'], /^error .*sessionAffinity: expected NONE or GENERATED_COOKIE or .*, got "STICKY"/],
    [['sessionAffinity: HEADER_FIELD'], /^error .*affinityHeaderFieldName: missing/],
    [
      ['sessionAffinity: HEADER_FIELD', 'sessionAffinityConfig: { affinityHeaderFieldName: x-fc-session }'],
      /^error .*not x-fc-/,
    ],
    [
      ['sessionAffinity: GENERATED_COOKIE', 'sessionAffinityConfig: { sessionTTLInSeconds: 86400 }'],
      /^error .*from 1 to 21600, got 86400/,
    ],
    [['sessionAffinityConfig: { sessionTTLInSeconds: 60 }'], /^warning .*sessionAffinity: missing/],
  ] as const) {
    const [remark = '', ...rest] = remarks(read(fc3(...lines)));
    assert.match(remark, text);
    assert.equal(rest, []);
  }
});

deployment.run();
