// Holds starts of the container to bounds, by share of a vCPU. Ends with code 1 when one is broken.
//
//   npm run bench:container [-- --rounds 9 --cpus 2,1,0.5,0.25]
import { parseArgs } from 'node:util';
import { canLimit, growthOfImage, isStandIn, kind, layOut, measure, settledMemory } from './figures/container.mjs';
import { ratio, showTables } from './report.mjs';

/** Shares of what it takes as shipped, at so many vCPU; `open` of what the server takes alone; `megabytes` with stand-ins. */
const BOUNDS = { vCPU: 1, replied: 0.5, used: 0.45, memory: 0.9, open: 1.3, megabytes: 12 };

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '9' }, cpus: { type: 'string', default: '2,1,0.5,0.25' } },
});
const rounds = Number(values.rounds);
const cpus = values.cpus.split(',').map(Number);

function verdict(what, value, bound) {
  if (value > bound) process.exitCode = 1;
  console.log(`${what}: ${value.toFixed(2)}, bound ${bound}: ${value > bound ? 'NOT HELD' : 'held'}`);
}

if (!canLimit()) throw new Error('the bounds are those of shares of a vCPU: no limit can be set');
const path = layOut();
const tables = await measure({ rounds, shares: cpus }, path);
const find = id => tables.find(table => table.id === `container-${id}`)?.samples;
console.log(showTables(tables));

const settled = await settledMemory(path, cpus[0]);
const [shipped, warmed] = [settled.shipped, settled.warmed].map(mib => mib.toFixed(0));
console.log(`memory ${settled.seconds} s later: as shipped ${shipped} MiB, warmed ${warmed} MiB`);
console.log(`medians of ${rounds} rounds; Node.js ${process.version}; ${kind}\n`);

for (const [part, what] of [
  ['replied', 'first reply'],
  ['used', 'CPU until then'],
  ['memory', 'memory then'],
]) {
  const samples = find(`${BOUNDS.vCPU}-${part}`);
  if (samples === undefined) continue;
  const title = `${what} at ${BOUNDS.vCPU} vCPU, warmed / as shipped`;
  verdict(title, ratio(samples.warmed, samples.shipped), BOUNDS[part]);
}
const open = find(`${cpus[0]}-open`);
verdict(`port open at ${cpus[0]} vCPU, container / server alone`, ratio(open.warmed, open.server), BOUNDS.open);
if (isStandIn) verdict('MB that the image grows by', growthOfImage(), BOUNDS.megabytes);
else console.log(`MB that the image grows by: ${growthOfImage().toFixed(2)}`);
