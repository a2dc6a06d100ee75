import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { ask, eventually, NOT_LINUX, open, suite } from '../helpers.ts';
import { ARRANGEMENTS, type Container, processes, together, withContainer } from './container.ts';
import type { Manners } from './noslate/manners.ts';

const test = suite('container stop', { skip: NOT_LINUX });

/** Up to where a container has come. */
interface Stage {
  readonly name: string;
  readonly standIns: Manners;
  /** What runs then. */
  readonly running: readonly string[];
  reach(container: Container): Promise<unknown>;
}

const stagesOf = (planes: readonly string[]): readonly Stage[] => [
  {
    name: 'before turf.sock',
    standIns: { turf: { socketMs: null } },
    running: ['server', 'turfd'],
    reach: container => container.find('turfd'),
  },
  {
    name: 'before a plane is up',
    standIns: { data_plane: { socketMs: null } },
    running: ['server', 'turfd', ...planes],
    reach: container => container.find(planes[planes.length - 1] ?? ''),
  },
  {
    name: 'while all is up',
    standIns: {},
    running: ['server', 'turfd', ...planes],
    reach: container => container.up(),
  },
];

/** A command that makes start.sh PID 1 of a container of its own, or none where this is not allowed. */
const ISOLATED: readonly string[] | undefined = [['unshare'], ['unshare', '--user', '--map-root-user']]
  .map(command => [...command, '--pid', '--fork', '--mount-proc', '--kill-child'])
  .find(([command = '', ...args]) => spawnSync(command, [...args, 'true']).status === 0);

for (const [planes, names] of ARRANGEMENTS) {
  const [first = '', last = first] = names;
  const how = planes === 'one' ? 'planes in one process' : 'planes apart';
  const stages = stagesOf(names);
  for (const stage of stages) {
    test(`should end all when one is killed ${stage.name}, ${how}`, () =>
      together(2, stage.running, name =>
        withContainer({ planes, standIns: stage.standIns }, async container => {
          await stage.reach(container);
          process.kill((await container.find(name)).pid, 'SIGKILL');
          assert.is(await container.end(), 137, name);
          assert.equal(container.complaints(), [`noslate-fc: ${name} ended by SIGKILL: the container ends`]);
          assert.not.match(container.output(), 'Killed', 'bash has nothing to say');
        }),
      ));
  }

  test(`should end with the status of what has ended, and its last words, ${how}`, async () => {
    const cases: [standIns: Manners, name: string, status: number][] = [
      [{ turf: { status: 5 } }, 'turfd', 5],
      [{ data_plane: { status: 3 } }, first, 3],
      [{ control_plane: { status: 0 } }, last, 0],
    ];
    await together(2, cases, ([standIns, name, status]) =>
      withContainer({ planes, standIns }, async container => {
        assert.is(await container.end(), status || 1);
        assert.equal(container.complaints(), [`noslate-fc: ${name} ended with status ${status}: the container ends`]);
        assert.match(container.output(), new RegExp(`^\\[${name}\\] .*told to end with ${status}$`, 'm'));
      }),
    );
  });

  test(`should bring the last words of planes from their logs of the day, ${how}`, () =>
    withContainer({ planes, standIns: { data_plane: { midnightMs: 1500 } } }, async container => {
      await container.up();
      await eventually('the next day', async () => hasLogged(container));
      assert.ok(lstatSync(`${container.workdir}/logs/data_plane.log`).isSymbolicLink());
      process.kill((await container.find(first)).pid, 'SIGKILL');
      assert.is(await container.end(), 137);
      assert.match(container.output(), new RegExp(`^\\[${first}\\] INFO \\d+ \\[DATA PLANE\\] good morning$`, 'm'));
    }));

  test(`should finish what is in flight on SIGTERM and on SIGINT, ${how}`, () =>
    together(2, ['SIGTERM', 'SIGINT'] as const, signal =>
      withContainer({ planes, standIns: { turf: { workers: 2 } } }, async container => {
        await container.up();
        const reply = ask(container.port, { path: '/?ms=1000' });
        await eventually('the call', async () => logOf(container, `${first}_out`).includes('called'));
        await container.signal(signal);
        await container.line('draining', ({ message }) => message === 'draining');
        // they are needed until the last answer
        await container.find(first);
        assert.is((await reply).body.toString(), 'hello');
        assert.is(await container.end(), 0);
        assert.equal(container.complaints(), []);
      }),
    ));

  test(`should end at once when told so twice, ${how}`, () =>
    withContainer({ planes, env: { SERVER_DRAIN_TIMEOUT: '60' } }, async container => {
      await container.up();
      const { reply } = open(container.port, { path: '/?ms=60000' });
      await eventually('the call', async () => logOf(container, `${first}_out`).includes('called'));
      await container.signal('SIGTERM');
      await container.line('draining', ({ message }) => message === 'draining');
      await container.signal('SIGTERM');
      assert.is(await container.end(), 0);
      const { statusCode, headers } = await reply;
      assert.equal([statusCode, headers.connection], [503, 'close']);
    }));

  test(`should end when told so at any stage, ${how}`, () =>
    together(2, stages, stage =>
      withContainer({ planes, standIns: stage.standIns }, async container => {
        await stage.reach(container);
        await container.signal('SIGTERM');
        assert.is(await container.end(), 0, stage.name);
        assert.equal(container.complaints(), []);
      }),
    ));

  test(`should kill what does not end in time, ${how}`, async () => {
    const stubborn = { data_plane: { stubborn: true }, control_plane: { stubborn: true } };
    await together(
      2,
      [
        { standIns: stubborn, env: { SERVER_STOP_TIMEOUT: '1' }, path: '/', code: 0 },
        { standIns: {}, env: { SERVER_STOP_TIMEOUT: '1', SERVER_DRAIN_TIMEOUT: '60' }, path: '/?ms=60000', code: 137 },
      ],
      ({ standIns, env, path, code }) =>
        withContainer({ planes, standIns, env }, async container => {
          await container.up();
          open(container.port, { path });
          await eventually('the call', async () => logOf(container, `${first}_out`).includes('called'));
          await container.signal('SIGTERM');
          assert.is(await container.end(), code);
        }),
    );
  });
}

test('should end with the second data plane, too', () =>
  withContainer({ env: { SERVER_DATA_PLANES: '2' } }, async container => {
    await container.up();
    process.kill((await container.find('data_plane-1')).pid, 'SIGKILL');
    assert.is(await container.end(), 137);
    assert.equal(container.complaints(), ['noslate-fc: data_plane-1 ended by SIGKILL: the container ends']);
  }));

/** Ended children whose parent has not asked how. */
function zombiesOf(parent: number): number {
  return readdirSync('/proc').filter(entry => {
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return state === 'Z' && Number(ppid) === parent;
    } catch {
      return false;
    }
  }).length;
}

/** Whether the data plane has written to the log of its second day. */
function hasLogged({ workdir }: Container): boolean {
  const file = `${workdir}/logs/data_plane.log`;
  return existsSync(file) && readFileSync(file, 'utf8').includes('good morning');
}

function logOf({ workdir }: Container, name: string): string {
  return readFileSync(`${workdir}/logs/${name}.log`, 'utf8');
}

test.run();

const init = suite('container stop, as PID 1', {
  skip: NOT_LINUX ?? (ISOLATED === undefined ? 'a PID namespace is not allowed here' : undefined),
});

init('should reap orphans, and leave none', async () => {
  const standIns = { turf: { workers: 2, orphanMs: 300 } };
  await withContainer({ standIns, prefix: ISOLATED ?? [] }, async container => {
    await container.up();
    const { pid } = await container.find('start.sh');
    assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /^NSpid:\t\d+\t1$/m);
    const isWorker = ({ name }: { name: string }): boolean => name === 'sleep 1000';
    assert.is(processes(container.workdir).filter(isWorker).length, 2);
    await eventually(
      'the orphan to end',
      async () => !processes(container.workdir).some(item => item.name === 'sleep 0.3'),
    );
    await eventually('no zombie', async () => zombiesOf(pid) === 0);
    // its workers are orphans, too
    process.kill((await container.find('turfd')).pid, 'SIGKILL');
    assert.is(await container.end(), 137);
  });
});

init.run();
