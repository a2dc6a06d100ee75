import { execFile, spawn } from 'node:child_process';
import { cpSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { help } from '../src/config.ts';
import { PROFILE_SCHEMA } from '../src/profile.ts';
import { check } from '../src/schema.ts';
import { freePort } from './container/container.ts';
import {
  endWithUs,
  eventually,
  type Observed,
  observe,
  SERVER_FILE,
  suite,
  temporary,
  within,
  without,
  write,
} from './helpers.ts';

// Does what the README says, block by block as it stands there, in a copy of the repository.

const README = readFileSync('README.md', 'utf8');

/** Commands that are not run here, and why. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'npm ci': 'fetches packages; .ci/run begins with it',
  'docker build --build-arg NOSLATE_VERSION=v0.25.3 -t my-functions .':
    "takes docker and Noslate's image; npm run test:image builds the same Dockerfile",
  'docker run --rm -p 9000:9000 my-functions': 'the same; npm run test:image runs what it has built',
  'docker exec CONTAINER node server.js --doctor': 'the same; npm run test:image has it say `healthy`',
};

/** What is meant by words beside a command that are not what it prints. */
const MEANT: Readonly<Record<string, (output: string) => boolean>> = {
  'two events, one a second': output => output.match(/^data: /gm)?.length === 2,
  'a service: Hello, world! or, one time in ten, ping': output => /^(Hello, world!\n|ping)$/.test(output),
};

interface Block {
  /** Second-level heading above it. */
  section: string;
  language: string;
  text: string;
  /** The text of a block without language that follows: what is printed. */
  shown: string | undefined;
}

function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let section = '';
  for (const [, heading, language = '', text = ''] of markdown.matchAll(/^## (.*)$|^```(\w*)\n([\s\S]*?)^```$/gm)) {
    const last = blocks[blocks.length - 1];
    if (heading !== undefined) section = heading;
    else if (language === '' && last?.section === section && last.language === 'sh') last.shown = text;
    else blocks.push({ section, language, text, shown: undefined });
  }
  return blocks;
}

const blocks = blocksOf(README);
const commands = blocks
  .filter(({ language }) => language === 'sh')
  .flatMap(({ text }) => text.trim().split('\n'))
  .flatMap(line => line.split(' && '));

/** The repository as it is fetched and installed, but nothing built. */
function repository(): string {
  const folder = temporary();
  const files = ['build.mjs', 'package.json', 'tsconfig.json', 'src', 'test', 'examples'];
  for (const file of files) cpSync(file, join(folder, file), { recursive: true });
  symlinkSync(realpathSync('node_modules'), join(folder, 'node_modules'));
  return folder;
}

const clean = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(SERVER|FC|NOSLATED?|TURF|npm)_|^FORCE_COLOR$/.test(name)),
);

/** The package's command is the one that is built; that npx finds it, the package's own test holds. */
const ours = (command: string): string => command.replace(/\bnpx noslate-fc\b/g, `node ${SERVER_FILE}`);

/** What plays Function Compute until it is told to quit. */
const isDev = (command: string): boolean => /^(npm run fc|npx noslate-fc dev)\b/.test(command);

/** Runs a command to its end as a shell does. */
function shell(command: string, cwd: string): Promise<{ code: number; stdout: string; stderr: string }> {
  return within(
    30_000,
    new Promise(done =>
      execFile('bash', ['-c', ours(command)], { cwd, env: clean }, (error, stdout, stderr) =>
        done({ code: Number(error?.code ?? 0), stdout, stderr }),
      ),
    ),
    command,
  );
}

/** A command that a person leaves running in a terminal of its own. */
interface Terminal extends Observed {
  port: number;
  /** Ends it as the README says. */
  end(): Promise<number | string>;
}

async function openTerminal(command: string, cwd: string, port: number): Promise<Terminal> {
  const env = { ...clean, SERVER_PORT: `${port}` };
  // a process group of its own, all of which Ctrl-C reaches
  const child = spawn('bash', ['-c', ours(command)], { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  const observed = observe(endWithUs(child));
  return {
    ...observed,
    port,
    end() {
      if (isDev(command)) child.stdin?.write('quit\n');
      else process.kill(-(child.pid ?? 0), 'SIGINT');
      return within(20_000, observed.exit, `the end of ${command}\n${observed.output()}`);
    },
  };
}

const walk = suite('README', { skip: without('curl', 'curl') ?? without('npm', 'npm') });

walk('should have each of its commands run, or say why not', () => {
  assert.ok(commands.length >= 15, commands.join('\n'));
  for (const command of Object.keys(NOT_RUN)) assert.ok(commands.includes(command), command);
});

let root: string;
let folder: string;
/** The section that was gone through last. */
let here: string | undefined;
let terminal: Terminal | undefined;

/** A server ends by itself at Ctrl-C; the shell that npm has between, by the signal. */
function assertEnded(code: number | string | undefined): void {
  assert.ok(code === 0 || code === 'SIGINT', `it ends with ${code}`);
}

/** Runs what is left running, waits for what it shows, and keeps the port that it has here. */
async function start(command: string, shown: string | undefined): Promise<void> {
  if (terminal !== undefined) assertEnded(await terminal.end());
  const port = await freePort();
  const isFc = isDev(command);
  const flags = `${command.startsWith('npm') ? ' --' : ''} --listen 127.0.0.1:${port} --console 0`;
  terminal = await openTerminal(isFc ? command + flags : command, folder, port);
  const { output } = terminal;
  const wanted = isFc ? '"event":"ready"' : (shown?.trim() ?? `localhost:${port}`).replaceAll(':9000', `:${port}`);
  await eventually(`${wanted} of\n${output()}`, async () => output().includes(wanted), 60_000);
}

/** Runs a line that says in a comment what it prints. */
async function curl(line: string, port: number): Promise<void> {
  const [, command = '', comment = ''] = /^((?:curl|npx) .*?)(?:\s+# (.*))?$/.exec(line) ?? [];
  const here = command.replace(/localhost:\d+/, `127.0.0.1:${port}`).replace(/\bcurl /, 'curl -sS ');
  const { code, stdout, stderr } = await shell(here, folder);
  assert.is(code, 0, `${line}\n${stderr}`);
  const [, status, errorType] = /^([45]\d\d) ([A-Z_]+)$/.exec(comment) ?? [];
  if (status !== undefined) {
    assert.ok(stdout.startsWith(`HTTP/1.1 ${status} `), `${line}\n${stdout}`);
    assert.ok(stdout.includes(`"errorType":"${errorType}"`), `${line}\n${stdout}`);
  } else if (MEANT[comment] !== undefined) assert.ok(MEANT[comment](stdout), `${line}\n${stdout}`);
  else assert.is(stdout.trim(), comment, line);
}

for (const { section, language, text, shown } of blocks) {
  const [first = ''] = text.trim().split('\n');
  if (language === 'js') {
    walk(`should have code for a file: ${first}`, () => {
      const [, file = ''] = /^\/\/ (\S+)$/.exec(first) ?? [];
      write(join(folder, file), text);
    });
  } else if (language === 'json') {
    walk(`should have JSON that passes, in "${section}": ${first}`, () => {
      const value: unknown = JSON.parse(first.startsWith('{') ? text : `{${text}}`);
      if (section === 'Settings') return;
      const faults = check(value, PROFILE_SCHEMA);
      assert.equal(faults, []);
      if (first.startsWith('{')) writeFileSync(join(folder, 'noslate.json'), text);
    });
  }
  if (language !== 'sh') continue;
  for (const line of text.trim().split('\n')) {
    walk(`should do what it says, in "${section}": ${line}`, async () => {
      // a section begins where the first one has, and goes on where it has gone to
      root ??= repository();
      if (section !== here) folder = root;
      here = section;
      if (/^curl |^npx .* # /.test(line)) return curl(line, terminal?.port ?? 0);
      for (const command of line.split(' && ')) {
        if (NOT_RUN[command] !== undefined) continue;
        if (command.startsWith('cd ')) folder = join(folder, command.slice('cd '.length));
        else if (isDev(command) || /^(npm start|node \S+)$/.test(command)) await start(command, shown);
        else {
          const { code, stdout, stderr } = await shell(command, folder);
          assert.equal([code, stderr], [0, ''], command);
          if (shown !== undefined) assert.is(stdout, shown);
        }
      }
    });
  }
  if (section === 'From a clone' && first.startsWith('curl ')) {
    walk('should answer by new code when a file of the examples is changed', async () => {
      const file = join(folder, 'examples/hello/index.js');
      writeFileSync(file, readFileSync(file, 'utf8').replaceAll('Hello', 'Good day'));
      const ask = `curl -sS 'http://127.0.0.1:${terminal?.port}/hello?name=you'`;
      await eventually('the new code', async () => (await shell(ask, folder)).stdout === 'Good day, you!\n');
    });
  }
  for (const [, line = ''] of (shown ?? '').matchAll(/^ +(curl .*?) +# /gm)) {
    walk(`should give a way in that works: ${line}`, async () => {
      const { code, stderr } = await shell(
        line.replace(/^curl /, 'curl -sSf ').replace(/localhost:\d+/, `127.0.0.1:${terminal?.port}`),
        folder,
      );
      assert.equal([code, stderr], [0, '']);
    });
  }
}

walk('should leave nothing running', async () => {
  assertEnded(await terminal?.end());
});

walk.run();

const named = suite('README, what is not run');

named('should name scripts, arguments and flags that there are', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  const names = [...README.matchAll(/\bnpm (?:run |(?=start|test))([\w:]+)/g)].map(([, name = '']) => name);
  assert.ok(names.length > 15);
  for (const name of names) assert.ok(name in scripts, name);
  const dockerfile = readFileSync('Dockerfile', 'utf8');
  const builds = [...README.matchAll(/--build-arg (\w+)=/g)].map(([, name = '']) => name);
  assert.ok(builds.length > 2);
  for (const name of builds) assert.match(dockerfile, new RegExp(`^ARG ${name}\\b`, 'm'));
  for (const flag of ['--doctor', '--check']) assert.ok(README.includes(flag) && help('').includes(flag), flag);
});

named.run();
