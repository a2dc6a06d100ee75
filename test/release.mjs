// Makes the release twice, as two people would: each from a checkout of its own, with other folders, modes, time zone
// and language, and compares. What V8 keeps for a machine, dist/server.js.cache, is in no release.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

/** Longest run of a release, ms. */
const RELEASE_MS = 300_000;

/** What a build loads of node_modules. */
const PACKAGES = ['esbuild', '@esbuild', 'preact', 'yaml'];

const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-release-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const here = join(folder, 'a');
const there = join(folder, 'another/much deeper/b');

/** Writes the sources as they are now, in an order, as a checkout does under this umask. */
function checkOut(root, files) {
  for (const file of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), readFileSync(file), { mode: statSync(file).mode });
  }
  mkdirSync(join(root, 'dist'));
}

/** Makes the release there. */
async function release(root, env) {
  const child = spawn('npm', ['run', '--silent', 'release'], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: RELEASE_MS,
  });
  const [code] = await once(child, 'close');
  assert.is(code, 0, `npm run release ended with ${code} in ${root}`);
}

/** The files below a folder, with their SHA-256. */
function hashesOf(root, under) {
  const files = readdirSync(join(root, under), { recursive: true }).map(file => join(under, file));
  return files
    .filter(file => statSync(join(root, file)).isFile() && file !== 'dist/server.js.cache')
    .sort()
    .map(
      file =>
        `${createHash('sha256')
          .update(readFileSync(join(root, file)))
          .digest('hex')} ${file}`,
    );
}

const readHere = file => readFileSync(join(here, file), 'utf8');

const tests = suite('release');

tests('should be the same bytes wherever it is made', async () => {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    encoding: 'utf8',
  });
  const files = listed.split('\0').filter(file => file !== 'node_modules' && file !== '' && existsSync(file));
  const umask = process.umask(0o022);
  checkOut(here, files);
  symlinkSync(realpathSync('node_modules'), join(here, 'node_modules'));
  const first = release(here, { TZ: 'UTC', LC_ALL: 'C' });
  process.umask(0o077);
  checkOut(there, files.reverse());
  for (const name of PACKAGES) {
    cpSync(join('node_modules', name), join(there, 'node_modules', name), { recursive: true, dereference: true });
  }
  const second = release(there, { TZ: 'Pacific/Kiritimati', LC_ALL: 'tr_TR.UTF-8', LANG: 'tr_TR.UTF-8' });
  process.umask(umask);
  await Promise.all([first, second]);

  const made = hashesOf(here, 'dist');
  assert.equal(hashesOf(there, 'dist'), made);
  const paths = made.map(line => line.slice(65));
  for (const file of ['server.js', 'desk.js', 'warm/make.js', 'warm/planes.js', 'warm/preload.js'])
    assert.ok(paths.includes(`dist/${file}`), file);
  // as in the repository
  for (const root of [here, there]) {
    const schema = readFileSync(join(root, 'noslate.schema.json'), 'utf8');
    assert.is(schema, readFileSync('noslate.schema.json', 'utf8'));
  }
});

tests('should name no folder of who made it', () => {
  for (const line of hashesOf(here, 'dist')) {
    const text = readHere(line.slice(65));
    for (const path of [folder, process.cwd(), homedir(), realpathSync('node_modules')])
      assert.not(text.includes(`${path}/`), `${path} in ${line.slice(65)}`);
  }
});

tests('should have checksums that hold', () => {
  const cwd = join(here, 'dist/release');
  const { version } = JSON.parse(readHere('package.json'));
  const said = execFileSync('sha256sum', ['-c', 'SHA256SUMS'], { cwd, encoding: 'utf8' });
  assert.is(said, `noslate-fc-${version}.tgz: OK\nsbom.cdx.json: OK\n`);
  const sums = readHere('dist/release/SHA256SUMS');
  writeFileSync(join(cwd, 'sbom.cdx.json'), ' ', { flag: 'a' });
  assert.throws(() => execFileSync('sha256sum', ['-c'], { cwd, input: sums, stdio: 'pipe' }), 'status 1');
});

tests('should say what is inside: nothing in the server, two packages in the desk', () => {
  const bom = JSON.parse(readHere('dist/release/sbom.cdx.json'));
  const { packages } = JSON.parse(readHere('package-lock.json'));
  assert.equal([bom.bomFormat, bom.specVersion], ['CycloneDX', '1.5']);
  const component = ref => bom.components.find(item => item['bom-ref'] === ref);
  const inside = ref => bom.dependencies.find(item => item.ref === ref).dependsOn;
  assert.equal(inside(bom.metadata.component['bom-ref']), ['dist/server.js', 'dist/desk.js']);
  assert.equal(inside('dist/server.js'), []);
  const refs = ['preact', 'yaml'].map(name => `${name}@${packages[`node_modules/${name}`].version}`);
  assert.equal(inside('dist/desk.js'), refs);
  for (const [i, name] of ['preact', 'yaml'].entries()) {
    const { version, scope, purl, hashes } = component(refs[i]);
    const { version: locked, integrity } = packages[`node_modules/${name}`];
    assert.equal([version, scope, purl], [locked, 'required', `pkg:npm/${name}@${locked}`]);
    assert.is(`sha512-${Buffer.from(hashes[0].content, 'hex').toString('base64')}`, integrity);
  }
  for (const file of ['dist/server.js', 'dist/desk.js']) {
    const sum = createHash('sha256')
      .update(readFileSync(join(here, file)))
      .digest('hex');
    assert.is(component(file).hashes[0].content, sum);
  }
  // what has built it is not in it
  const rest = bom.components.filter(({ scope, type }) => type === 'library' && scope !== 'required');
  assert.equal(
    rest.map(({ name, scope }) => [name, scope]),
    [['esbuild', 'excluded']],
  );
  // each is told of in the graph, for one that is not could depend on anything
  const all = [bom.metadata.component, ...bom.components].map(item => item['bom-ref']).sort();
  assert.equal(bom.dependencies.map(({ ref }) => ref).sort(), all);
});

tests.run();
