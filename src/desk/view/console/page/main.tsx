import { type JSX, render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Copy } from './bits.tsx';
import { Calls, goToFilter } from './calls.tsx';
import { Contract } from './contract.tsx';
import { Costs } from './costs.tsx';
import { duration } from './format.ts';
import { Instances } from './instances.tsx';
import { connect, connection, useDesk } from './live.ts';
import { Now, nowSummary } from './now.tsx';
import { go, linkTo, type Route, useRoute, VIEWS, type View } from './route.ts';
import { Send } from './send.tsx';
import { nameOf, outcomeOf } from './state.ts';
import './style.css';

const TITLES: Readonly<Record<View, string>> = {
  now: 'Now',
  calls: 'Calls',
  send: 'Send',
  instances: 'Instances',
  costs: 'Costs',
  contract: 'Contract',
};

const SHOWN: Readonly<Record<View, (props: { route: Route }) => JSX.Element>> = {
  now: Now,
  calls: Calls,
  send: Send,
  instances: Instances,
  costs: Costs,
  contract: Contract,
};

const KEYS: readonly (readonly [string, string])[] = [
  ['1 – 6', 'Now, Calls, Send, Instances, Costs, Contract'],
  ['/', 'filter the calls'],
  ['↑ ↓, Enter', 'choose a call in the list, and open it'],
  ['Escape', 'close what is open'],
  ['← →', 'in the drawing: the call before, the call after'],
  ['+ −', 'in the drawing: closer, further away'],
  ['Shift ← →', 'in the drawing: earlier, later'],
  ['Space', 'in the drawing: pause, and back to now'],
  ['?', 'these keys'],
];

function App(): JSX.Element {
  const route = useRoute();
  const { view } = route;
  const { about } = useDesk();
  const Shown = SHOWN[view];
  const help = useRef<HTMLDialogElement>(null);
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    document.title = about === undefined ? 'noslate-fc' : `${TITLES[view]} · ${about.name} · noslate-fc`;
  }, [view, about]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const isTyping = event.target instanceof Element && event.target.matches('input, textarea, select');
      if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      const chosen = VIEWS[Number(event.key) - 1];
      if (chosen !== undefined) go(linkTo(chosen));
      else if (event.key === '?') help.current?.showModal();
      else if (event.key === '/') {
        event.preventDefault();
        goToFilter();
      }
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <Header openHelp={() => help.current?.showModal()} />
      <Nav view={view} />
      <main ref={main} id="content" tabIndex={-1} class={`view-${view}`}>
        <h1>{TITLES[view]}</h1>
        <p class="sub">{view === 'now' ? nowSummary() : ''}</p>
        {connection === 'lost' ? (
          <p class="problem" role="alert">
            The desk does not answer. It may have ended: start it again with <code>npx noslate-fc dev</code>. This page
            goes on by itself.
          </p>
        ) : undefined}
        {about === undefined ? <p class="note">Waiting for the desk…</p> : <Shown route={route} />}
      </main>
      <Announcer />
      <dialog ref={help} aria-labelledby="help-title">
        <h2 id="help-title">Keys</h2>
        <dl class="keys">
          {KEYS.map(([key, meaning]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{meaning}</dd>
            </div>
          ))}
        </dl>
        <form method="dialog">
          <button type="submit">Close</button>
        </form>
      </dialog>
    </>
  );
}

function Header({ openHelp }: { openHelp: () => void }): JSX.Element {
  const { about } = useDesk();
  return (
    <header class="top">
      <p class="brand">
        <strong>{about?.name ?? 'noslate-fc'}</strong>
        <span class={`connection ${connection}`}>{connection}</span>
      </p>
      {about === undefined ? undefined : (
        <>
          <details class="about">
            <summary>
              {`FC ${about.flavour} · ${about.memory} MB · timeout ${about.timeout} s · ${about.instanceConcurrency} at a time`}
            </summary>
            <dl>
              {about.settings.map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{value}</dd>
                </div>
              ))}
            </dl>
            {about.deployment === undefined ? undefined : (
              <>
                <p>{`from ${about.deployment.file}; flags win`}</p>
                <ul>
                  {about.deployment.remarks.map(remark => (
                    <li key={remark}>{remark}</li>
                  ))}
                </ul>
              </>
            )}
            <p class="note">{`noslate-fc ${about.version}`}</p>
          </details>
          <p class="url">
            <code>{about.url}</code>
            <Copy text={about.url} />
          </p>
        </>
      )}
      <p class="tools">
        <Theme />
        <button type="button" class="quiet" onClick={openHelp} aria-label="Keys">
          ?
        </button>
      </p>
    </header>
  );
}

function Nav({ view }: { view: View }): JSX.Element {
  const { calls, findings, instances } = useDesk();
  let failed = 0;
  for (const row of calls.values()) if (outcomeOf(row) === 'failed') failed += 1;
  const running = [...instances.values()].filter(({ end }) => end === undefined).length;
  const counts: Partial<Record<View, [number, boolean]>> = {
    calls: [failed, true],
    instances: [running, false],
    contract: [findings.size, [...findings.values()].some(({ severity }) => severity === 'error')],
  };
  return (
    <nav aria-label="Views">
      {VIEWS.map(one => {
        const [value = 0, isBad = false] = counts[one] ?? [];
        const meaning = one === 'calls' ? 'failed' : one === 'contract' ? 'found' : 'running';
        return (
          <a key={one} href={linkTo(one)} aria-current={one === view ? 'page' : undefined}>
            <span>{TITLES[one]}</span>
            {value === 0 ? undefined : (
              <span class={isBad ? 'badge bad' : 'badge'}>
                {value}
                <span class="hidden">{` ${meaning}`}</span>
              </span>
            )}
          </a>
        );
      })}
    </nav>
  );
}

const THEMES = ['auto', 'light', 'dark'] as const;

/** Light, dark, or as the system has it. */
function Theme(): JSX.Element {
  const [theme, setTheme] = useState(() => THEMES.find(one => one === localStorage.getItem('theme')) ?? 'auto');
  useEffect(() => {
    document.documentElement.dataset['theme'] = theme;
    localStorage.setItem('theme', theme);
  }, [theme]);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'auto';
  return (
    <button
      type="button"
      class="quiet"
      onClick={() => setTheme(next)}
      aria-label={`Colours: ${theme}. Change to ${next}`}
    >
      {theme}
    </button>
  );
}

/** Tells who cannot see it what came of the last call, but not each of a burst. */
function Announcer(): JSX.Element {
  const { lastDone } = useDesk();
  const [said, say] = useState('');
  useEffect(() => {
    if (lastDone === undefined) return;
    const timer = setTimeout(() => {
      say(`${nameOf(lastDone)}: ${lastDone.status ?? 'no answer'} in ${duration(lastDone.totalMs)}`);
    }, 1000);
    return () => clearTimeout(timer);
  }, [lastDone]);
  return (
    <p class="hidden" aria-live="polite">
      {said}
    </p>
  );
}

const root = document.createElement('div');
root.id = 'app';
document.body.append(root);
connect();
render(<App />, root);
