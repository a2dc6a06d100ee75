import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { BodyView } from '../api.ts';
import { Copy } from './bits.tsx';
import { bytes } from './format.ts';

const KINDS = ['JSON', 'Text', 'Hex'] as const;
type Kind = (typeof KINDS)[number];

/** Bytes of base64. */
export function decode(base64: string): Uint8Array {
  const binary = atob(base64);
  return Uint8Array.from(binary, letter => letter.charCodeAt(0));
}

/** Text of bytes, where they are any: a character that is cut at the end does not count. */
export function textOf(data: Uint8Array): string | undefined {
  for (let less = 0; less < 4; less++) {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(data.subarray(0, data.length - less));
    } catch {
      // one byte less may be whole characters
    }
  }
  return undefined;
}

/** Lines of sixteen bytes: where, what, and as text. */
export function hexOf(data: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < data.length; at += 16) {
    const row = [...data.subarray(at, at + 16)];
    const hex = row.map(byte => byte.toString(16).padStart(2, '0')).join(' ');
    const text = row.map(byte => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join('\n');
}

function jsonOf(text: string | undefined): string | undefined {
  try {
    return text === undefined || !/^\s*[[{"]/.test(text) ? undefined : JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return undefined;
  }
}

/** A body, as far as it is kept. */
export function Body({ body, name }: { body: BodyView; name: string }): JSX.Element {
  const [chosen, choose] = useState<Kind>();
  const { data, text, json } = useMemo(() => {
    const decoded = decode(body.base64);
    const read = textOf(decoded);
    return { data: decoded, text: read, json: jsonOf(read) };
  }, [body.base64]);
  if (body.bytes === 0) return <p class="note">{`The ${name} has no body.`}</p>;
  const possible: Record<Kind, string | undefined> = { JSON: json, Text: text, Hex: undefined };
  const kind = chosen ?? KINDS.find(one => possible[one] !== undefined) ?? 'Hex';
  const shown = kind === 'Hex' ? hexOf(data) : (possible[kind] ?? '');
  const isCut = data.length < body.bytes;
  return (
    <div class="body">
      <div class="toolbar">
        <fieldset class="choice">
          <legend class="hidden">{`The body of the ${name} as`}</legend>
          {KINDS.map(one => (
            <button
              type="button"
              key={one}
              aria-pressed={one === kind}
              disabled={one !== 'Hex' && possible[one] === undefined}
              onClick={() => choose(one)}
            >
              {one}
            </button>
          ))}
        </fieldset>
        <span class="note">
          {isCut ? `the first ${bytes(data.length)} of ${bytes(body.bytes)}` : bytes(body.bytes)}
        </span>
        <Copy text={shown} />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys */}
      <section class="content" tabIndex={0} aria-label={`Body of the ${name}`}>
        <pre>{shown}</pre>
      </section>
    </div>
  );
}
