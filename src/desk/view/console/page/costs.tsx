import type { ComponentChildren, JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Costs as AllCosts } from '../api.ts';
import { Empty, Problem, useAsked, usePolling } from './bits.tsx';
import { getCosts } from './client.ts';
import { amount, count, duration, plural } from './format.ts';
import { desk } from './live.ts';

/** What the run has cost, and would have. */
export function Costs(): JSX.Element {
  const [costs, setCosts] = useState<AllCosts>();
  const { error, ask } = useAsked();
  usePolling(() => void ask(async () => setCosts(await getCosts())), 1000);
  if (costs === undefined) return <Problem text={error} />;
  if (costs.calls === 0) {
    return <Empty title="No call, no costs." line={desk.about?.curls[0]} />;
  }
  const { calls, failed, coldStarts, all, warm, cold } = costs;
  return (
    <div class="costs">
      <Problem text={error} />
      <dl class="figures">
        <Figure name="calls" value={count(calls)} more={failed === 0 ? 'none failed' : `${count(failed)} failed`} />
        <Figure
          name="cold starts"
          value={count(coldStarts)}
          more={`${amount((coldStarts / calls) * 100)} % of calls`}
        />
        <Figure name="p50" value={duration(all.p50)} more={`without cold starts ${duration(warm.p50)}`} />
        <Figure name="p99" value={duration(all.p99)} more={`without cold starts ${duration(warm.p99)}`} />
        <Figure name="cold calls" value={duration(cold.p50)} more="p50 of those that waited for a start" />
      </dl>
      <Time costs={costs} />
      <Bill costs={costs} />
      <Others costs={costs} />
    </div>
  );
}

const Figure = ({ name, value, more }: { name: string; value: string; more: string }): JSX.Element => (
  <div>
    <dt>{name}</dt>
    <dd>
      <strong>{value}</strong>
      <span>{more}</span>
    </dd>
  </div>
);

/** A table that is wider than a narrow page. */
const Scroll = ({ name, children }: { name: string; children: ComponentChildren }): JSX.Element => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
  <section class="scroll" tabIndex={0} aria-label={name}>
    {children}
  </section>
);

/** What instances did with their time. */
function Time({ costs: { frozenMs, idleMs, busyMs } }: { costs: AllCosts }): JSX.Element {
  const parts: [string, string, number][] = [
    ['busy', 'with at least one call: this is billed', busyMs],
    ['idle', 'awake, with nothing to do', idleMs],
    ['frozen', 'costs nothing', frozenMs],
  ];
  const total = busyMs + idleMs + frozenMs;
  return (
    <section>
      <h2>The time of all instances</h2>
      <div class="time-bar" aria-hidden="true">
        {parts.map(([name, , ms]) => (
          <span key={name} class={name} style={{ flexGrow: ms }} />
        ))}
      </div>
      <ul class="time-list">
        {parts.map(([name, meaning, ms]) => (
          <li key={name}>
            <i class={`swatch ${name}`} />
            <strong>{`${name} ${duration(ms)}`}</strong>
            <span>{`${total === 0 ? 0 : Math.round((ms / total) * 100)} %, ${meaning}`}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Bill({ costs }: { costs: AllCosts }): JSX.Element {
  const { about } = desk;
  const rows: [string, string, string][] = [
    ['billed', duration(costs.billedMs), duration(costs.per1000?.billedMs)],
    [
      `memory, ${about?.memory ?? 0} MB`,
      `${amount(costs.gbSeconds)} GB-s`,
      `${amount(costs.per1000?.gbSeconds ?? 0)} GB-s`,
    ],
    [
      `vCPU, ${about?.cpu ?? 0}`,
      `${amount(costs.vcpuSeconds)} vCPU-s`,
      `${amount(costs.per1000?.vcpuSeconds ?? 0)} vCPU-s`,
    ],
  ];
  return (
    <section>
      <h2>What FC bills</h2>
      <Scroll name="Bill">
        <table>
          <thead>
            <tr>
              <th scope="col">of</th>
              <th scope="col">this run</th>
              <th scope="col">per 1 000 calls like these</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, run, each]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{run}</td>
                <td>{each}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <p class="note">
        Time in which an instance has at least one call, each stretch rounded up to a millisecond, and its hooks. Prices
        differ by region and plan, so none is made up here.
      </p>
    </section>
  );
}

function Others({ costs: { others } }: { costs: AllCosts }): JSX.Element {
  const calls = others[0]?.calls ?? 0;
  return (
    <section>
      <h2>The same calls at another instanceConcurrency</h2>
      <Scroll name="Other concurrencies">
        <table>
          <thead>
            <tr>
              <th scope="col">concurrency</th>
              <th scope="col">instances</th>
              <th scope="col">cold starts</th>
              <th scope="col">p50</th>
              <th scope="col">p99</th>
              <th scope="col">billed</th>
              <th scope="col">GB-s</th>
            </tr>
          </thead>
          <tbody>
            {others.map(one => (
              <tr key={one.instanceConcurrency} class={one.isSet ? 'is-set' : ''}>
                <th scope="row">{`${one.instanceConcurrency}${one.isSet ? ' (set)' : ''}`}</th>
                <td>{count(one.instances)}</td>
                <td>{count(one.coldStarts)}</td>
                <td>{duration(one.p50)}</td>
                <td>{duration(one.p99)}</td>
                <td>{duration(one.billedMs)}</td>
                <td>{amount(one.gbSeconds)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <p class="note">
        {`Played with the last ${plural(calls, 'call')}, if each had taken as long as it did whatever shares its instance.`}
      </p>
    </section>
  );
}
