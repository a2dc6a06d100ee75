import { linkSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import {
  ask,
  eventually,
  launch,
  observe,
  type Server,
  suiteOfMany,
  temporary,
  withServer,
  write,
} from '../helpers.ts';

/** A handler's module whose answer is a text. */
const says = (text: string): string =>
  `exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end(${JSON.stringify(text)}); };`;

/** A handler's module whose answer is what an expression gives; `top` is its code before that. */
const answers = (expression: string, top: string = ''): string =>
  `${top}
  exports.handler = async (ctx, req, res) => { const answer = await ${expression}; res.writeHead(200); res.end(answer); };`;

/** Puts a link in the place of another, as `ln -sfn` and releases do: it is never missing. */
function relink(target: string, path: string): void {
  symlinkSync(target, `${path}.new`);
  renameSync(`${path}.new`, path);
}

const textOf = async ({ port }: Server, path: string = '/'): Promise<string> =>
  (await ask(port, { path })).body.toString();

interface Case {
  /** Besides `./f` and `index.handler`. */
  profile?: object;
  /** Makes the first code, which answers `old`; `root` is the project's folder. */
  make(root: string): void;
  /** What is done to it, one after the other; from the first on the answers are `new`, `newer` and so on. */
  steps: ((root: string, server: Server) => void | Promise<void>)[];
}

const CASES: Record<string, Case> = {
  'a file written in place': {
    make: root => write(join(root, 'f/index.js'), says('old')),
    steps: [
      root => write(join(root, 'f/index.js'), says('new')),
      root => write(join(root, 'f/index.js'), says('newer')),
    ],
  },
  'a file renamed over the old one': {
    make: root => write(join(root, 'f/index.js'), says('old')),
    steps: ['new', 'newer'].map(text => root => {
      write(join(root, 'f/.index.js.swp'), says(text));
      renameSync(join(root, 'f/.index.js.swp'), join(root, 'f/index.js'));
    }),
  },
  'an editor that keeps the old file as a backup': {
    make: root => write(join(root, 'f/index.js'), says('old')),
    steps: ['new', 'newer'].map(text => root => {
      renameSync(join(root, 'f/index.js'), join(root, 'f/index.js~'));
      write(join(root, 'f/index.js'), says(text));
    }),
  },
  'another text of the same length, with the time of the old one': {
    make: root => write(join(root, 'f/index.js'), says('old')),
    steps: [
      root => {
        const file = join(root, 'f/index.js');
        const { atime, mtime } = statSync(file);
        writeFileSync(file, says('new'));
        utimesSync(file, atime, mtime);
      },
    ],
  },
  'a write through another hard link': {
    make(root) {
      write(join(root, 'src/index.js'), says('old'));
      mkdirSync(join(root, 'f'));
      linkSync(join(root, 'src/index.js'), join(root, 'f/index.js'));
    },
    steps: [root => writeFileSync(join(root, 'src/index.js'), says('new'))],
  },
  'a clean build with a request in between': {
    profile: { handler: 'dist/index.handler' },
    make: root => write(join(root, 'f/dist/index.js'), says('old')),
    steps: ['new', 'newer'].map(text => async (root, { port }) => {
      rmSync(join(root, 'f/dist'), { recursive: true });
      mkdirSync(join(root, 'f/dist'));
      await eventually('a failure', async () => (await ask(port)).status === 502);
      write(join(root, 'f/dist/index.js'), says(text));
    }),
  },
  'a clean build without one, and an edit': {
    profile: { handler: 'dist/index.handler' },
    make: root => write(join(root, 'f/dist/index.js'), says('old')),
    steps: [
      root => {
        rmSync(join(root, 'f/dist'), { recursive: true });
        mkdirSync(join(root, 'f/dist'));
        write(join(root, 'f/dist/index.js'), says('new'));
      },
      root => write(join(root, 'f/dist/index.js'), says('newer')),
    ],
  },
  'the whole folder removed and made again': {
    make: root => write(join(root, 'f/index.js'), says('old')),
    steps: ['new', 'newer'].map(text => async (root, { port }) => {
      rmSync(join(root, 'f'), { recursive: true });
      await eventually('a failure', async () => (await ask(port)).status !== 200);
      write(join(root, 'f/index.js'), says(text));
    }),
  },
  'a folder renamed into place': {
    profile: { handler: 'dist/index.handler' },
    make: root => write(join(root, 'f/dist/index.js'), says('old')),
    steps: [
      root => {
        write(join(root, 'f/dist.new/index.js'), says('new'));
        renameSync(join(root, 'f/dist'), join(root, 'f/dist.old'));
        renameSync(join(root, 'f/dist.new'), join(root, 'f/dist'));
      },
      root => write(join(root, 'f/dist/index.js'), says('newer')),
    ],
  },
  'a folder above renamed into place': {
    profile: { url: './app/f' },
    make: root => write(join(root, 'app/f/index.js'), says('old')),
    steps: [
      root => {
        write(join(root, 'app.new/f/index.js'), says('new'));
        renameSync(join(root, 'app'), join(root, 'app.old'));
        renameSync(join(root, 'app.new'), join(root, 'app'));
      },
      root => write(join(root, 'app/f/index.js'), says('newer')),
    ],
  },
  'a release whose entry is the same file as before': {
    profile: { url: './current' },
    make(root) {
      write(join(root, 'releases/1/index.js'), answers('text', "const text = require('./text');"));
      write(join(root, 'releases/1/text.js'), "module.exports = 'old';");
      symlinkSync('releases/1', join(root, 'current'));
    },
    steps: [
      root => {
        mkdirSync(join(root, 'releases/2'));
        linkSync(join(root, 'releases/1/index.js'), join(root, 'releases/2/index.js'));
        write(join(root, 'releases/2/text.js'), "module.exports = 'new';");
        relink('releases/2', join(root, 'current'));
      },
      root => write(join(root, 'releases/2/text.js'), "module.exports = 'newer';"),
    ],
  },
  'the link of the folder pointed elsewhere': {
    profile: { url: './current' },
    make(root) {
      for (const text of ['old', 'new', 'newer']) write(join(root, 'releases', text, 'index.js'), says(text));
      symlinkSync('releases/old', join(root, 'current'));
    },
    steps: ['new', 'newer'].map(text => root => relink(`releases/${text}`, join(root, 'current'))),
  },
  'a link above the folder pointed elsewhere': {
    profile: { url: './current/f' },
    make(root) {
      for (const text of ['old', 'new', 'newer']) write(join(root, 'releases', text, 'f/index.js'), says(text));
      symlinkSync('releases/old', join(root, 'current'));
    },
    steps: ['new', 'newer'].map(text => root => relink(`releases/${text}`, join(root, 'current'))),
  },
  "the handler's link pointed elsewhere": {
    make(root) {
      for (const text of ['old', 'new', 'newer']) write(join(root, 'f', `${text}.js`), says(text));
      symlinkSync('old.js', join(root, 'f/index.js'));
    },
    steps: ['new', 'newer'].map(text => root => relink(`${text}.js`, join(root, 'f/index.js'))),
  },
  "a library's link pointed elsewhere": {
    make(root) {
      write(join(root, 'f/index.js'), answers('text', "const text = require('./lib');"));
      for (const text of ['old', 'new', 'newer'])
        write(join(root, 'libs', text, 'index.js'), `module.exports = '${text}';`);
      symlinkSync('../libs/old', join(root, 'f/lib'));
    },
    steps: ['new', 'newer'].map(text => root => relink(`../libs/${text}`, join(root, 'f/lib'))),
  },
  'a file in the last of three hundred folders': {
    make(root) {
      for (let i = 0; i < 300; i++) write(join(root, `f/${i}/text.js`), "module.exports = 'old';");
      write(join(root, 'f/index.js'), answers('text', "const text = require('./299/text');"));
    },
    steps: ['new', 'newer'].map(text => root => write(join(root, 'f/299/text.js'), `module.exports = '${text}';`)),
  },
  'a file outside of the folder': {
    make(root) {
      write(join(root, 'f/index.js'), answers('text', "const text = require('../shared/text.js');"));
      write(join(root, 'shared/text.js'), "module.exports = 'old';");
    },
    steps: ['new', 'newer'].map(text => root => write(join(root, 'shared/text.js'), `module.exports = '${text}';`)),
  },
  'a package of the same workspace': {
    make(root) {
      write(join(root, 'f/index.js'), answers('text', "const text = require('lib');"));
      write(join(root, 'packages/lib/index.js'), "module.exports = 'old';");
      mkdirSync(join(root, 'f/node_modules'));
      symlinkSync('../../packages/lib', join(root, 'f/node_modules/lib'));
    },
    steps: ['new', 'newer'].map(
      text => root => write(join(root, 'packages/lib/index.js'), `module.exports = '${text}';`),
    ),
  },
  'a required JSON file': {
    make(root) {
      write(join(root, 'f/index.js'), answers('text', "const { text } = require('./settings.json');"));
      write(join(root, 'f/settings.json'), '{ "text": "old" }');
    },
    steps: ['new', 'newer'].map(text => root => write(join(root, 'f/settings.json'), JSON.stringify({ text }))),
  },
  'a module that is required by a call': {
    make(root) {
      write(join(root, 'f/index.js'), answers("require('./text')"));
      write(join(root, 'f/text.js'), "module.exports = 'old';");
    },
    steps: ['new', 'newer'].map(text => root => write(join(root, 'f/text.js'), `module.exports = '${text}';`)),
  },
  'an ES module, and one that it imports': {
    make(root) {
      write(join(root, 'f/index.js'), answers("import('./app.mjs').then(app => app.text)"));
      write(join(root, 'f/app.mjs'), 'export*from"./lib/text.mjs";');
      write(join(root, 'f/lib/text.mjs'), "export const text = 'old';");
    },
    steps: [
      root => write(join(root, 'f/lib/text.mjs'), "export const text = 'new';"),
      root => write(join(root, 'f/app.mjs'), "export const text = 'newer';"),
    ],
  },
  'a module that was missing': {
    make(root) {
      write(join(root, 'f/index.js'), says('old'));
    },
    steps: [
      async (root, { port }) => {
        write(join(root, 'f/index.js'), answers('text', "const text = require('./made/later');"));
        await eventually('a failure', async () => (await ask(port)).status === 502);
        write(join(root, 'f/made/later.js'), "module.exports = 'new';");
      },
    ],
  },
  'a package that was not installed': {
    make(root) {
      write(join(root, 'f/index.js'), says('old'));
    },
    steps: [
      async (root, { port }) => {
        write(join(root, 'f/index.js'), answers('text', "const text = require('dependency');"));
        await eventually('a failure', async () => (await ask(port)).status === 502);
        write(join(root, 'f/node_modules/dependency/index.js'), "module.exports = 'new';");
      },
    ],
  },
  'a new file of a folder that the function lists': {
    make(root) {
      const top = `
        const { readdirSync } = require('node:fs');
        const text = readdirSync(__dirname + '/routes').sort().map(name => require('./routes/' + name)).pop();`;
      write(join(root, 'f/index.js'), answers('text', top));
      write(join(root, 'f/routes/a.js'), "module.exports = 'old';");
    },
    steps: [
      root => write(join(root, 'f/routes/b.js'), "module.exports = 'new';"),
      root => write(join(root, 'f/routes/c.js'), "module.exports = 'newer';"),
    ],
  },
  'a file that wins over the one that was loaded': {
    make(root) {
      write(join(root, 'f/index.js'), answers('text', "const text = require('./text');"));
      write(join(root, 'f/text/index.js'), "module.exports = 'old';");
    },
    steps: [root => write(join(root, 'f/text.js'), "module.exports = 'new';")],
  },
  'an edit while the code is being loaded': {
    make(root) {
      const top = `
        const text = require('./text');
        const { existsSync, writeFileSync } = require('node:fs');
        writeFileSync(__dirname + '/loading', '');
        while (!existsSync(__dirname + '/go')) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);`;
      write(join(root, 'f/index.js'), answers('text', top));
      write(join(root, 'f/text.js'), "module.exports = 'old';");
      write(join(root, 'f/go'), '');
    },
    steps: [
      async (root, server) => {
        const isLoading = async (): Promise<boolean> =>
          statSync(join(root, 'f/loading'), { throwIfNoEntry: false }) !== undefined;
        rmSync(join(root, 'f/go'));
        rmSync(join(root, 'f/loading'));
        write(join(root, 'f/text.js'), "module.exports = 'old' + '';");
        const call = eventually('a call by a new worker', async () => {
          await textOf(server);
          return isLoading();
        });
        await eventually('the loading', isLoading);
        write(join(root, 'f/text.js'), "module.exports = 'new';");
        write(join(root, 'f/go'), '');
        await call;
      },
    ],
  },
};

const reload = suiteOfMany('new code', 3);

for (const [name, { profile = {}, make, steps }] of Object.entries(CASES)) {
  reload(`should be served after ${name}`, async () => {
    await withServer({ functions: { f: '' }, overrides: { f: profile }, args: ['--log', 'off'] }, async server => {
      const { folder } = server;
      rmSync(join(folder, 'f'), { recursive: true });
      make(folder);
      await eventually('the first code', async () => (await textOf(server)) === 'old');
      for (const [i, step] of steps.entries()) {
        await step(folder, server);
        const expected = i === 0 ? 'new' : 'newer';
        await eventually(`the answer "${expected}"`, async () => (await textOf(server)) === expected, 2500);
      }
    });
  });
}

const WRITES = `
  const fs = require('node:fs');
  let calls = 0;
  exports.handler = async (ctx, req, res) => {
    calls++;
    fs.mkdirSync(__dirname + '/public/' + calls, { recursive: true });
    for (const file of ['data.json', 'log.txt', '.cache.js', 'public/app.js', 'public/' + calls + '/page.mjs'])
      fs.writeFileSync(__dirname + '/' + file, JSON.stringify({ calls }));
    fs.writeFileSync(__dirname + '/template' + calls + '.js', 'module.exports = ' + calls + ';');
    require('./template' + calls + '.js');
    res.writeHead(200);
    res.end(process.env.NOSLATE_WORKER_ID);
  };`;

/** Changes a function's code and waits for it: whatever was done before has been looked at by then. */
async function lookOnce(server: Server, text: string): Promise<void> {
  write(join(server.folder, 'sentinel/index.js'), says(text));
  await eventually(`the answer "${text}"`, async () => (await textOf(server, '/sentinel')) === text);
}

const routes = { profile: { routes: [{ path: '/:f', function: ':f' }] } };

reload('should not be looked for in what a function writes and reads', async () => {
  await withServer({ functions: { f: WRITES, sentinel: says('0') }, ...routes }, async server => {
    const { folder, lines } = server;
    for (let i = 1; i <= 3; i++) {
      assert.is(await textOf(server, '/f'), 'f-1');
      write(join(folder, 'f/README.md'), String(i));
      await lookOnce(server, String(i));
    }
    const count = (): number =>
      lines().filter(line => line.message === 'code changed' && line['function'] === 'f').length;
    assert.is(count(), 0);
    write(join(folder, 'f/added.js'), '');
    for (let i = 4; i <= 6; i++) await lookOnce(server, String(i));
    assert.is(count(), 1);
  });
});

reload('should not be taken for new each time when it writes what it has loaded', async () => {
  const source = `
    const { starts } = require('./starts.json');
    require('node:fs').writeFileSync(__dirname + '/starts.json', JSON.stringify({ starts: starts + 1 }));
    exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end(process.env.NOSLATE_WORKER_ID); };`;
  const functions = { f: '', sentinel: says('0') };
  await withServer({ functions, overrides: { f: { worker: { reservationCount: 1 } } }, ...routes }, async server => {
    const { folder, lines } = server;
    write(join(folder, 'f/starts.json'), '{ "starts": 0 }');
    write(join(folder, 'f/index.js'), source);
    await eventually('a worker', async () => (await ask(server.port, { path: '/f' })).status === 200);
    for (let i = 1; i <= 8; i++) await lookOnce(server, String(i));
    const count = (): number =>
      lines().filter(line => line.message === 'code changed' && line['function'] === 'f').length;
    const before = count();
    assert.ok(before <= 5, `${before} times`);
    for (let i = 9; i <= 12; i++) await lookOnce(server, String(i));
    assert.is(count(), before);
  });
});

reload('should be served without one that was missing at the start, and told of', async () => {
  const override = { worker: { reservationCount: 1, disableRequestQueue: true } };
  const functions = { f: "require('./later');" };
  await withServer({ functions, overrides: { f: override } }, async server => {
    const { error } = await server.line('why', line => line.message === 'worker could not load its code');
    assert.match(JSON.stringify(error), "Cannot find module './later'");
    // its call is refused by no queue: it is the worker that fails it
    assert.is((await ask(server.port)).json()['errorType'], 'FUNCTION_FAILED');
    write(join(server.folder, 'f/later.js'), '');
    write(join(server.folder, 'f/index.js'), `require('./later');${says('new')}`);
    await eventually('the new code', async () => (await textOf(server)) === 'new');
  });
});

const configuration = suiteOfMany('noslate.json', 3);

const profileOf = (...names: string[]): string =>
  JSON.stringify({
    functions: names.map(name => ({ name, runtime: 'nodejs', url: '/nowhere', handler: 'a.b', signature: '1' })),
  });

for (const [name, replace] of Object.entries<(root: string, text: string) => void>({
  'is renamed over the old one': (root, text) => {
    write(join(root, 'config/new'), text);
    renameSync(join(root, 'config/new'), join(root, 'config/noslate.json'));
  },
  'comes in a new folder': (root, text) => {
    rmSync(join(root, 'config'), { recursive: true });
    write(join(root, 'config/noslate.json'), text);
  },
  'comes in a folder renamed into place': (root, text) => {
    write(join(root, 'config.new/noslate.json'), text);
    rmSync(join(root, 'config.old'), { recursive: true, force: true });
    renameSync(join(root, 'config'), join(root, 'config.old'));
    renameSync(join(root, 'config.new'), join(root, 'config'));
  },
  'is reached by a link that is pointed elsewhere': (root, text) => {
    const folder = `releases/${text.length}`;
    write(join(root, folder, 'noslate.json'), text);
    rmSync(join(root, 'config'), { recursive: true });
    relink(folder, join(root, 'config'));
  },
})) {
  configuration(`should be read again when it ${name}`, async () => {
    const root = temporary();
    write(join(root, 'config/noslate.json'), profileOf('a'));
    const args = ['--agent', 'local', '--port', '0', '--log', 'json', '--config', 'config/noslate.json'];
    const child = launch(args, {}, root);
    const server = observe(child);
    try {
      await server.line('the start', ({ message }) => message === 'listening');
      for (const names of [
        ['a', 'b'],
        ['a', 'b', 'c'],
      ]) {
        replace(root, profileOf(...names));
        await server.line(
          names.join(),
          line => line.message === 'configuration reloaded' && String(line['functions']) === String(names),
        );
      }
    } finally {
      child.kill('SIGKILL');
    }
  });
}

reload.run();
configuration.run();
