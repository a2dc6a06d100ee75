import type { JSX } from 'preact';
import type { Finding } from '../api.ts';
import { plural, timeOfDay } from './format.ts';
import { useHold } from './hold.ts';
import { desk, useDesk } from './live.ts';
import { linkTo } from './route.ts';

const WATCHED = [
  'response headers that FC drops, and headers above 8 KB',
  'redirects, which the default domain refuses',
  'requests above the limits of FC',
  'calls that are not done within the timeout',
  'processes that end by themselves, or do not start',
  'hooks and health checks that are configured, and fail',
  'connections that the server closes and FC keeps',
  'work that goes on after the answer, and is frozen away',
  'more memory than the function has',
];

/** What FC will not like. */
export function Contract(): JSX.Element {
  const { findings } = useDesk();
  const rows = [...findings.values()].sort(
    (one, other) => Number(one.severity !== 'error') - Number(other.severity !== 'error') || other.at - one.at,
  );
  const { items, on } = useHold(rows);
  if (rows.length === 0) {
    return (
      <div class="empty">
        <p class="title">Nothing that FC would not like, so far.</p>
        <p>Each call and each instance is looked at for:</p>
        <ul>
          {WATCHED.map(item => (
            <li key={item}>{item}</li>
          ))}
        </ul>
      </div>
    );
  }
  return (
    <ul class="findings" {...on}>
      {items.map(finding => (
        <li key={finding.id}>
          <FindingCard finding={findings.get(finding.id) ?? finding} level="h2" />
        </li>
      ))}
    </ul>
  );
}

/** One of them, headed as the place where it stands has it. */
export function FindingCard({ finding, level }: { finding: Finding; level: 'h2' | 'h4' }): JSX.Element {
  const Heading = level;
  const { severity, title, detail, contract, mend, count, call, at } = finding;
  return (
    <article class={`finding ${severity}`}>
      <Heading>
        <span class="severity">{severity}</span>
        {title}
      </Heading>
      <p class="detail">{detail}</p>
      <blockquote>{contract}</blockquote>
      <p>{mend}</p>
      <p class="note">
        {`${plural(count, 'time')}, last at ${timeOfDay(desk.startedAt + at)}`}
        {call === undefined ? '' : ': '}
        {call === undefined ? undefined : <a href={linkTo('calls', call)}>the call</a>}
      </p>
    </article>
  );
}
