// What the desk costs: how soon a call is on the page, whether that runs smoothly, calls a second through the simulator with
// and without page, and memory. Figures for people: nothing is held to them.
//
//   npm run bench:desk [-- seen|frames|rate|memory]...
//
// Needs Debian's chromium, or the one that CHROMIUM names.
import { performance } from 'node:perf_hooks';
import autocannon from 'autocannon';
import { launchBrowser, startDesk } from './desk-run.mjs';
import { memory as memoryOf } from './process.mjs';
import { median, ratio } from './report.mjs';
import { interleave } from './run.mjs';

const CALLS = 10_000;
const SEEN = 50;
const ROUNDS = 5;
/** Ten calls share an instance: FC's own clock is looked at here, not the starts. */
const ARGS = ['--concurrency', '10', '--max-instances', '1', '--log', 'off'];
const BURST = { method: 'POST', body: 'x'.repeat(100), connections: 10 };

const moment = () => performance.timeOrigin + performance.now();
const at = (sorted, part) => sorted[Math.ceil(sorted.length * part) - 1];
const rssOf = ({ child }) => memoryOf(child).now / 2 ** 20;
const ms = value => `${value.toFixed(1)} ms`;

async function withDesk(args, body) {
  const desk = await startDesk([...ARGS, ...args]);
  try {
    // the worker is there
    await send(desk, { amount: 20 });
    return await body(desk);
  } finally {
    await desk.stop();
  }
}

async function send({ url }, options) {
  const result = await autocannon({ url: `${url}/echo`, ...BURST, ...options });
  if (result.non2xx + result.errors + result.timeouts > 0) throw new Error('a call has failed');
  return result;
}

async function withPage({ page }, hash, body) {
  const browser = await launchBrowser();
  try {
    const opened = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await opened.goto(`${page}/${hash}`);
    await opened.getByText('live', { exact: true }).waitFor();
    return await body(opened);
  } finally {
    await browser.close();
  }
}

/** From the last byte of an answer to the frame in which its row is drawn. */
const seen = () =>
  withDesk([], desk =>
    withPage(desk, '#/calls', async page => {
      const times = [];
      for (let i = 0; i < SEEN; i++) {
        const drawn = page.evaluate(
          path =>
            new Promise(done => {
              const look = () => {
                const isThere = [...document.querySelectorAll('.row')].some(row => row.textContent.includes(path));
                if (isThere) done(performance.timeOrigin + performance.now());
                else requestAnimationFrame(look);
              };
              look();
            }),
          `/hello?n=${i}.`,
        );
        await (await fetch(`${desk.url}/hello?n=${i}.`)).text();
        const answered = moment();
        times.push((await drawn) - answered);
      }
      times.sort((a, b) => a - b);
      console.log(
        `call on the page: p50 ${ms(at(times, 0.5))}, p99 ${ms(at(times, 0.99))} after its answer, ${SEEN} calls`,
      );
    }),
  );

/** Counts frames until it is told to end. */
async function frames(page, work) {
  await page.evaluate(() => {
    globalThis.frames = [];
    const count = time => {
      globalThis.frames.push(time);
      globalThis.frame = requestAnimationFrame(count);
    };
    globalThis.frame = requestAnimationFrame(count);
  });
  await work();
  const times = await page.evaluate(() => {
    cancelAnimationFrame(globalThis.frame);
    return globalThis.frames;
  });
  const gaps = times.slice(1).map((time, i) => time - times[i]);
  gaps.sort((a, b) => a - b);
  const perSecond = (1000 * gaps.length) / (times[times.length - 1] - times[0]);
  return `${perSecond.toFixed(1)} frames a second, p99 ${ms(at(gaps, 0.99))} between two, most ${ms(gaps[gaps.length - 1])}`;
}

async function smooth() {
  for (const view of ['now', 'calls']) {
    await withDesk([], desk =>
      withPage(desk, `#/${view}`, async page => {
        const idle = await frames(page, () => new Promise(done => setTimeout(done, 5000)));
        console.log(`${view}, nothing happens: ${idle}`);
        const even = await frames(page, () => send(desk, { overallRate: CALLS / 60, duration: 10 }));
        console.log(`${view}, ${CALLS} calls a minute: ${even}`);
        const burst = await frames(page, () => send(desk, { amount: CALLS }));
        console.log(`${view}, ${CALLS} calls at once: ${burst}`);
      }),
    );
  }
}

const KINDS = {
  off: body => withDesk(['--console', 'off'], body),
  console: body => withDesk([], body),
  page: body => withDesk([], desk => withPage(desk, '#/now', () => body(desk))),
};

async function rate() {
  const { rate: samples } = await interleave(ROUNDS, Object.keys(KINDS), name =>
    KINDS[name](async desk => ({ rate: (await send(desk, { duration: 3 })).requests.average })),
  );
  for (const [name, own] of Object.entries(samples)) {
    const share = ratio(own, samples.off).toFixed(2);
    console.log(`calls a second, ${name}: ${Math.round(median(own))}, × ${share} of those without a console`);
  }
}

/** Of the process that plays FC and holds the console, not of the functions' own. */
const memory = () =>
  withDesk([], async desk => {
    const before = rssOf(desk);
    const told = [];
    for (let sent = 0; sent < 3 * CALLS; sent += CALLS) {
      await send(desk, { amount: CALLS });
      told.push(`${Math.round(rssOf(desk))} after ${sent + CALLS} calls`);
    }
    console.log(`memory, MiB: ${Math.round(before)} before, ${told.join(', ')}`);
  });

const PARTS = { seen, frames: smooth, rate, memory };
const asked = process.argv.slice(2);
for (const name of asked.length > 0 ? asked : Object.keys(PARTS)) {
  if (PARTS[name] === undefined) throw new Error(`bench: expected ${Object.keys(PARTS).join(', ')}, got ${name}`);
  await PARTS[name]();
}
