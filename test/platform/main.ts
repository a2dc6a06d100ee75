// `npm run fc`: Function Compute on your desk. An instance, an endpoint in front of it, and its life on the terminal.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { createEndpoint } from './endpoint.ts';
import { FlagError, type FlagTable, flagHelp, parseFlags } from './flags.ts';
import { createPlatform, type Platform } from './platform.ts';
import { signalAll, tree } from './processes.ts';
import { jsonReport, textReport } from './report.ts';
import { type FunctionOptions, parseSwitches, SWITCHES } from './settings.ts';

/** As sysexits.h: the command was used wrongly. */
const EXIT_USAGE = 64;

const FLAGS = {
  config: { value: 'FILE', default: 'examples/noslate.json', meaning: 'noslate.json with your functions' },
  command: {
    value: 'COMMAND',
    meaning: 'another server; it listens on $FC_CUSTOM_LISTEN_PORT, for which {port} stands',
  },
  image: { value: undefined, meaning: "the container's start.sh, with Noslate (NOSLATE_PATH), not the server alone" },
  fc: { value: '2.0|3.0', default: '3.0', allowed: /^(2\.0|3\.0)$/, meaning: 'generation of Function Compute' },
  name: { value: 'NAME', default: 'app', allowed: /^[A-Za-z_][\w-]{0,63}$/, meaning: "the function's name" },
  timeout: { value: 'SECONDS', default: '60', allowed: /^[1-9]\d*$/, meaning: 'longest invocation' },
  memory: { value: 'MB', default: '512', allowed: /^[1-9]\d*$/, meaning: 'what the container is told it has' },
  concurrency: { value: 'N', default: '20', allowed: /^[1-9]\d*$/, meaning: 'requests at a time in one instance' },
  'max-instances': { value: 'N', default: '4', allowed: /^[1-9]\d*$/, meaning: 'instances at a time, 429 above' },
  'init-timeout': {
    value: 'SECONDS',
    default: '10',
    allowed: /^\d+$/,
    meaning: 'timeout of the initializer; 0: none is configured',
  },
  'pre-stop': {
    value: 'SECONDS',
    default: '10',
    allowed: /^\d+$/,
    meaning: 'timeout of the pre-stop hook; 0: none is configured',
  },
  'pre-freeze': {
    value: 'SECONDS',
    default: '0',
    allowed: /^\d+$/,
    meaning: 'the same of pre-freeze, with --fc 2.0',
  },
  health: { value: 'PATH', allowed: /^\//, meaning: 'custom health check on this path' },
  idle: { value: 'SECONDS', default: '0', allowed: /^\d+$/, meaning: 'stop an instance that idles; 0: never' },
  'no-freeze': { value: undefined, meaning: 'leave idle instances running' },
  'default-domain': { value: undefined, meaning: 'as on *.fcapp.run: downloads forced, redirects forbidden' },
  env: { value: 'KEY=VALUE', allowed: /^[A-Za-z_]\w*=/, repeated: true, meaning: 'variable of the container' },
  switch: { value: 'NAME=VALUE', allowed: /=/, repeated: true, meaning: 'what is not certain of FC, see below' },
  port: { value: 'PORT', default: '0', allowed: /^\d{1,5}$/, meaning: "the container's; 0: a free one each" },
  listen: { value: 'PORT', default: '8080', allowed: /^\d{1,5}$/, meaning: 'where FC listens for you' },
  json: { value: undefined, meaning: 'events as JSON lines; so it is when the output is no terminal' },
  quiet: { value: undefined, meaning: 'leave out what the container prints' },
} as const satisfies FlagTable;

const HELP = `Function Compute on your desk: starts your functions as FC does, freezes and thaws them, shows their life.

  npm run fc -- [options]

Options:
${flagHelp(FLAGS)}

Keys, or words on stdin when it is no terminal:
  f freeze   t thaw   c crash   + - scale (scale N)   s stop all   q quit

Switches, for what is not certain of FC:
${Object.entries(SWITCHES)
  .map(([name, { values, default: value, meaning }]) => {
    const shown = typeof value === 'object' ? `${value['2.0']} in 2.0, ${value['3.0']} in 3.0` : value;
    return `  ${name}=${typeof values[0] === 'number' ? 'N' : values.join('|')}  ${meaning} (${shown})`;
  })
  .join('\n')}
`;

type Flags = ReturnType<typeof parseFlags<typeof FLAGS>>;

function functionOptions(flags: Flags): FunctionOptions {
  const hook = (seconds: string): { timeout: number } | undefined =>
    seconds === '0' ? undefined : { timeout: Number(seconds) };
  if (flags['pre-freeze'] !== '0' && flags.fc === '3.0') {
    throw new FlagError('--pre-freeze: expected --fc 2.0 with it, 3.0 has no such hook');
  }
  const healthCheck = flags.health === undefined ? {} : { healthCheck: { httpGetUrl: flags.health } };
  return {
    flavour: flags.fc === '2.0' ? '2.0' : '3.0',
    command: command(flags),
    environment: {
      ...noslate(flags.image),
      ...(flags.health !== undefined && { SERVER_HEALTH_PATH: flags.health }),
      ...Object.fromEntries(flags.env.map(pair => pair.split(/=(.*)/s).slice(0, 2))),
    },
    name: flags.name,
    timeout: Number(flags.timeout),
    memory: Number(flags.memory),
    instanceConcurrency: Number(flags.concurrency),
    maxInstances: Number(flags['max-instances']),
    initializer: hook(flags['init-timeout']),
    preStop: hook(flags['pre-stop']),
    preFreeze: hook(flags['pre-freeze']),
    ...healthCheck,
    idleTimeout: Number(flags.idle),
    freeze: !flags['no-freeze'],
    domain: flags['default-domain'] ? 'default' : 'custom',
    port: Number(flags.port),
    switches: parseSwitches(flags.switch),
  };
}

function command(flags: Flags): readonly string[] {
  if (flags.command !== undefined) return ['/bin/sh', '-c', `exec ${flags.command}`];
  if (!existsSync(flags.config)) throw new FlagError(`--config: expected a file, got "${flags.config}"`);
  if (!flags.image) return [process.execPath, resolve(__dirname, '../../dist/server.js'), '--config', flags.config];
  return ['bash', resolve(__dirname, '../../start.sh')];
}

/** What start.sh is told by the image it is in. */
function noslate(image: boolean): Record<string, string> {
  const names = /^(NOSLATED?|TURF|SERVER)_/;
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      image && names.test(name) && value !== undefined ? [[name, value]] : [],
    ),
  );
}

/** What a key or a word on stdin does. */
async function control(platform: Platform, wish: string): Promise<void> {
  const all = platform.instances();
  const [word = '', count = ''] = wish.trim().split(/\s+/);
  switch (word) {
    case 'f':
    case 'freeze':
      for (const instance of all) instance.freeze();
      return;
    case 't':
    case 'thaw':
      for (const instance of all) instance.thaw();
      return;
    case 'c':
    case 'crash':
      return all[0]?.crash();
    case '+':
      return platform.scale(all.length + 1);
    case '-':
      return platform.scale(Math.max(0, all.length - 1));
    case 'scale':
      return platform.scale(Number(count) || 0);
    case 's':
    case 'stop':
      return platform.scale(0);
  }
}

async function main(): Promise<void> {
  const flags = parseFlags(FLAGS, process.argv.slice(2));
  if (flags.help) return void process.stdout.write(HELP);
  const isText = !flags.json && process.stdout.isTTY === true;
  const write = (text: string): void => void process.stdout.write(text);
  const report = isText ? textReport(write, process.env['NO_COLOR'] === undefined) : jsonReport(write);
  const platform = createPlatform(functionOptions(flags));
  const { life } = platform;
  life.on(event => {
    if (event.event !== 'log' || !flags.quiet) report.show(event);
  });
  const endpoint = createEndpoint(platform);
  const url = `http://localhost:${flags.listen}`;
  endpoint.on('error', (error: NodeJS.ErrnoException) => {
    const reason = error.code === 'EADDRINUSE' ? 'is taken; --listen PORT takes another' : error.message;
    process.stderr.write(`fc: port ${flags.listen} ${reason}\n`);
    process.exit(1);
  });
  await new Promise<void>(done => endpoint.listen(Number(flags.listen), '127.0.0.1', done));
  life.tell('listening', { url });

  let stops = 0;
  const stop = async (): Promise<void> => {
    stops += 1;
    // frozen ones do not end by themselves, and no handler of ours runs in a second Ctrl-C's shadow
    if (stops > 1) process.exit(1);
    endpoint.close();
    await platform.stop();
    report.flush();
    process.exit(0);
  };
  process.on('exit', () => {
    for (const { pid } of platform.instances()) signalAll(tree(pid), 'SIGKILL');
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);

  const tell = (error: unknown): void => {
    if (isText) write(`\n${error instanceof Error ? error.message : error}\n\nThe next request starts it again.\n\n`);
  };
  await platform.scale(1).catch(tell);
  if (isText) write(hints(platform, url));

  const onWish = (wish: string): void => {
    if (wish === 'q' || wish === 'quit' || wish === '\u0003') stop();
    else control(platform, wish).catch(tell);
  };
  if (process.stdin.isTTY) {
    process.stdin.setRawMode(true);
    process.stdin.setEncoding('utf8').on('data', (key: string) => onWish(key));
  } else createInterface({ input: process.stdin }).on('line', onWish);
}

function hints({ settings }: Platform, url: string): string {
  const invoke =
    settings.flavour === '3.0'
      ? `/2023-03-30/functions/${settings.name}/invocations`
      : `/2016-08-15/services/${settings.service}/functions/${settings.name}/invocations`;
  return `
  HTTP trigger    curl ${url}/
  InvokeFunction  curl -d '{}' ${url}${invoke}
  keys            f freeze  t thaw  c crash  + - scale  s stop  q quit

`;
}

main().catch((error: unknown) => {
  process.stderr.write(`fc: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = EXIT_USAGE;
});
