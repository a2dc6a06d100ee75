// A group of processes that may use a share of the CPUs, and what it has used: a control group of Linux. Where none can
// be made, a process and its descendants, without a limit.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';

/** Of one accounting period. */
const PERIOD_US = 100_000;

/** What version 2 has in one tree is in several before. */
const isUnified = existsSync(join(ROOT, 'cgroup.controllers'));

const MS_PER_TICK = 1000 / Number(execFileSync('getconf', ['CLK_TCK']));

let groups = 0;

/**
 * Makes a group with a share of the CPUs, given in vCPUs.
 *
 * @throws {Error} no groups can be made here: not root, or a container without them.
 */
export function createGroup(cpus) {
  const name = `noslate-fc-bench-${process.pid}-${groups++}`;
  const folders = isUnified ? [join(ROOT, name)] : ['cpu', 'cpuacct'].map(tree => join(ROOT, tree, name));
  const [cpu, accounting = cpu] = folders;
  try {
    if (isUnified) writeFileSync(join(ROOT, 'cgroup.subtree_control'), '+cpu');
    for (const folder of folders) mkdirSync(folder, { recursive: true });
    if (isUnified) writeFileSync(join(cpu, 'cpu.max'), `${cpus * PERIOD_US} ${PERIOD_US}`);
    else writeFileSync(join(cpu, 'cpu.cfs_quota_us'), String(cpus * PERIOD_US));
  } catch (error) {
    throw new Error(`expected to be root where control groups can be made, got ${error.message}`);
  }
  return {
    /** A command that runs another in the group. */
    enter: ['sh', '-c', `${folders.map(folder => `echo $$ >${folder}/cgroup.procs`).join('; ')}; exec "$@"`, 'sh'],
    /** Told of the process that was started so. */
    lead() {},
    /** CPU that its processes have used so far, ms. */
    used() {
      if (!isUnified) return Number(readFileSync(join(accounting, 'cpuacct.usage'), 'utf8')) / 1e6;
      return Number(/^usage_usec (\d+)/m.exec(readFileSync(join(cpu, 'cpu.stat'), 'utf8'))[1]) / 1e3;
    },
    /** Its processes. */
    pids: () => readFileSync(join(cpu, 'cgroup.procs'), 'utf8').trim().split('\n').filter(Boolean).map(Number),
    /** Ends it, once its processes have ended. */
    remove() {
      for (const folder of folders) rmdirSync(folder);
    },
  };
}

/** Makes the same of a process and its descendants. Those whose parent has ended first are not among them. */
export function createFamily() {
  let leader;
  function members() {
    const all = new Map(processes().map(each => [each.pid, each]));
    const isMember = pid => pid === leader || (all.has(pid) && isMember(all.get(pid).parent));
    return [...all.values()].filter(({ pid, isGone }) => !isGone && isMember(pid));
  }
  return {
    enter: [],
    lead(pid) {
      leader = pid;
    },
    used: () => members().reduce((sum, { cpu }) => sum + cpu, 0),
    pids: () => members().map(({ pid }) => pid),
    remove() {},
  };
}

/** All processes of the machine: CPU is with that of children that were waited for, ms. */
function processes() {
  return readdirSync('/proc').flatMap(name => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      // the second field may hold spaces, in parentheses
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const cpu = fields.slice(11, 15).reduce((sum, ticks) => sum + ticks * MS_PER_TICK, 0);
      return [{ pid: Number(name), parent: Number(fields[1]), isGone: fields[0] === 'Z', cpu }];
    } catch {
      // it has ended meanwhile
      return [];
    }
  });
}

/** Memory that processes take, shared pages divided among those that share them, MiB. */
export function proportionalMemory(pids) {
  let kilobytes = 0;
  for (const pid of pids)
    kilobytes += Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]);
  return kilobytes / 1024;
}
