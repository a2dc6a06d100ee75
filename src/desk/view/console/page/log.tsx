import type { JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { LogRow } from '../api.ts';
import { timeOfDay } from './format.ts';
import { desk } from './live.ts';
import { linkTo } from './route.ts';

/** Lines that were printed. Who is at their end stays there. */
export function Log({
  rows,
  empty,
  withCalls = false,
}: {
  rows: readonly LogRow[];
  empty: string;
  withCalls?: boolean;
}): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  useLayoutEffect(() => {
    const { current } = box;
    if (current !== null && isAtEnd.current) current.scrollTop = current.scrollHeight;
  }, [rows.length]);
  if (rows.length === 0) return <p class="note">{empty}</p>;
  return (
    // biome-ignore lint/a11y/useSemanticElements: a log is no form's output
    <div
      class="log"
      ref={box}
      role="group"
      aria-label="Lines that were printed"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
      tabIndex={0}
      onScroll={({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
        isAtEnd.current = scrollTop + clientHeight >= scrollHeight - 4;
      }}
    >
      {rows.map(({ at, level, text, requestId }, i) => (
        <div key={i} class={level}>
          <time>{timeOfDay(desk.startedAt + at, true)}</time>
          <span class="text">
            {level === 'info' ? undefined : <b>{`${level} `}</b>}
            {text}
          </span>
          {withCalls && requestId !== undefined && desk.calls.has(requestId) ? (
            <a href={linkTo('calls', requestId, { tab: 'log' })}>call</a>
          ) : undefined}
        </div>
      ))}
    </div>
  );
}
