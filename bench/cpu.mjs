// A group of processes that may use a share of the CPUs, and what it has used: a control group of Linux.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';

/** Of one accounting period. */
const PERIOD_US = 100_000;

/** What version 2 has in one tree is in several before. */
const isUnified = existsSync(join(ROOT, 'cgroup.controllers'));

/**
 * Makes a group with a share of the CPUs, given in vCPUs.
 *
 * @throws {Error} no groups can be made here: not root, or a container without them.
 */
export function createGroup(cpus) {
  const name = `noslate-fc-bench-${process.pid}`;
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

/** Memory that processes take, shared pages divided among those that share them, MiB. */
export function proportionalMemory(pids) {
  let kilobytes = 0;
  for (const pid of pids)
    kilobytes += Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]);
  return kilobytes / 1024;
}
