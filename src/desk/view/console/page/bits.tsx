import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { CallRow, Part } from '../api.ts';
import { duration } from './format.ts';
import { outcomeOf } from './state.ts';

/** Copies a text, and says that it has. */
export function Copy({ text, label = 'Copy' }: { text: string; label?: string }): JSX.Element {
  const [said, say] = useState('');
  useEffect(() => {
    if (said === '') return;
    const timer = setTimeout(say, 1500, '');
    return () => clearTimeout(timer);
  }, [said]);
  const copy = (): void => {
    navigator.clipboard.writeText(text).then(
      () => say('Copied'),
      () => say('Not allowed by the browser'),
    );
  };
  return (
    <button type="button" class="quiet" onClick={copy} aria-live="polite">
      {said === '' ? label : said}
    </button>
  );
}

/** A line for a terminal, to be copied. */
export function Command({ line }: { line: string }): JSX.Element {
  // what is a remark to who reads is none to copy
  const [code = ''] = line.split(/\s+# /);
  return (
    <div class="command">
      <code>{code}</code>
      <Copy text={code} />
    </div>
  );
}

/** Nothing is here yet, and what to do about it. */
export function Empty({
  title,
  line,
  children,
}: {
  title: string;
  line?: string | undefined;
  children?: ComponentChildren;
}): JSX.Element {
  return (
    <div class="empty">
      <p class="title">{title}</p>
      {children}
      {line === undefined ? undefined : <Command line={line} />}
    </div>
  );
}

/** A call's status, by colour and by word. */
export function Status({ row }: { row: CallRow }): JSX.Element {
  const outcome = outcomeOf(row);
  const text = outcome === 'running' ? '…' : outcome === 'gone' ? 'gone' : String(row.status ?? '–');
  return (
    <span class={`status ${outcome}`} title={row.errorType ?? (outcome === 'gone' ? 'the client has left' : outcome)}>
      {text}
    </span>
  );
}

/** Marks of a call: how it got its instance. */
export function Marks({ row }: { row: CallRow }): JSX.Element {
  return (
    <>
      {row.isCold ? <span class="mark cold">cold</span> : undefined}
      {row.wasFrozen && !row.isCold ? <span class="mark frozen">thawed</span> : undefined}
      {row.retries > 0 ? <span class="mark">{`retry ${row.retries}`}</span> : undefined}
      {row.isAsync ? <span class="mark">async</span> : undefined}
    </>
  );
}

/** Where a call's time went, on one line. */
export function PartsBar({ parts }: { parts: readonly Part[] }): JSX.Element {
  return (
    <div class="parts-bar" aria-hidden="true">
      {parts.map(({ name, ms }) => (
        <span
          key={name}
          class={`part ${name.replace(' ', '-')}`}
          style={{ flexGrow: ms }}
          title={`${name} ${duration(ms)}`}
        />
      ))}
    </div>
  );
}

/** What a thing asked of the desk came to: its error, in the desk's words. */
export function useAsked(): { error: string; ask: (work: () => Promise<unknown>) => Promise<void> } {
  const [error, setError] = useState('');
  return {
    error,
    async ask(work) {
      setError('');
      try {
        await work();
      } catch (problem) {
        setError((problem as Error).message);
      }
    },
  };
}

/** An error, told to whoever cannot see it, too. */
export const Problem = ({ text }: { text: string }): JSX.Element => (
  <p class="problem" role="alert" hidden={text === ''}>
    {text}
  </p>
);

/** Calls again and again while it is shown. */
export function usePolling(work: () => void, ms: number, turn: unknown = undefined): void {
  const latest = useRef(work);
  latest.current = work;
  useEffect(() => {
    latest.current();
    const timer = setInterval(() => {
      if (!document.hidden) latest.current();
    }, ms);
    return () => clearInterval(timer);
  }, [ms, turn]);
}
