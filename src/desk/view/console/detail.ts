import { STATUS_CODES } from 'node:http';
import type { AnswerHead, CallRecord, Excerpt, RequestHead } from '../../fc/record.ts';
import { masked } from '../../fc/record.ts';
import type { Fault } from '../line.ts';
import type { BodyView, CallDetail, CallRecordView, Failure, Finding, HeadView } from './api.ts';
import type { Kept } from './calls.ts';
import { hasFailed } from './calls.ts';
import { curlOf } from './curl.ts';
import { partsOf } from './parts.ts';

/**
 * All that is kept of a call, as anybody may see it.
 *
 * @param now - on the platform's clock, for a call that is not over.
 * @param where - the endpoint and InvokeFunction, for who makes it again.
 */
export function detailOf(
  kept: Kept,
  now: number,
  findings: readonly Finding[],
  where: { readonly url: string; readonly invoke: string },
): CallDetail {
  const { row, record, lines, fault } = kept;
  const notReplayable = whyNotAgain(kept);
  return {
    call: { ...row },
    parts: partsOf(kept.timing(now)),
    record: record && viewOf(record),
    failure: failureOf(kept, fault),
    lines,
    curl: record === undefined || notReplayable !== undefined ? undefined : curlOf(kept.row, record, where),
    notReplayable,
    findings,
  };
}

/** Why a call cannot be made again as it was; undefined if it can. */
export function whyNotAgain({ row, record }: Kept): string | undefined {
  if (row.kind === 'websocket') return 'a WebSocket cannot be made again from here';
  if (record === undefined) return 'its request was let go, to keep what the desk holds within bounds';
  const { bytes, first } = record.requestBody;
  if (bytes > first.length) return `only the first ${first.length} of the ${bytes} bytes of its body are kept`;
  return undefined;
}

function viewOf({ sent, request, requestBody, response, answer, responseBody }: CallRecord): CallRecordView {
  return {
    sent: requestHead(sent),
    request: request && requestHead(request),
    requestBody: bodyOf(requestBody),
    response: response && answerHead(response),
    answer: answer && answerHead(answer),
    responseBody: bodyOf(responseBody),
  };
}

const requestHead = ({ method, path, headers }: RequestHead): HeadView => ({
  line: `${method} ${path}`,
  headers: masked(headers),
});

const answerHead = ({ status, headers }: AnswerHead): HeadView => ({
  line: `${status} ${STATUS_CODES[status] ?? ''}`.trim(),
  headers: masked(headers),
});

const bodyOf = ({ bytes, first }: Excerpt): BodyView => ({ bytes, base64: first.toString('base64') });

/** Why it failed: as the log has it, or else as the answer or FC says. */
function failureOf({ row, record }: Kept, fault: Fault | undefined): Failure | undefined {
  if (fault !== undefined) return { code: fault.code, message: fault.message, stack: fault.frames };
  if (!hasFailed(row)) return undefined;
  const said = saidBy(record);
  const message = row.message ?? said?.message;
  return message === undefined
    ? undefined
    : { code: row.errorType ?? said?.type ?? String(row.status), message, stack: [] };
}

/** What an error's body says: FC's and noslate-fc's have the same form. */
function saidBy(record: CallRecord | undefined): { type: string | undefined; message: string } | undefined {
  try {
    const body: unknown = JSON.parse(String(record?.responseBody.first));
    if (typeof body !== 'object' || body === null || !('errorMessage' in body)) return undefined;
    const type = 'errorType' in body && typeof body.errorType === 'string' ? body.errorType : undefined;
    return { type, message: String(body.errorMessage) };
  } catch {
    return undefined;
  }
}
