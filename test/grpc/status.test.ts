import * as assert from 'uvu/assert';
import { decodeStatusMessage, fromH2Error, fromHttpStatus, GrpcError } from '../../src/grpc/status.ts';
import * as Status from '../../src/grpc/status-code.ts';
import { H2Error } from '../../src/h2/error.ts';
import * as ErrorCode from '../../src/h2/error-code.ts';
import { suite } from '../helpers.ts';

const statuses = suite('grpc status');

statuses('should number the codes as gRPC does', () => {
  const codes = Object.entries(Status);
  assert.equal(
    codes.map(([, code]) => code).sort((a, b) => a - b),
    [...Array(17).keys()],
  );
  for (const [name, code] of codes) assert.is(new GrpcError(code, 'gone').message, `${code} ${name}: gone`);
});

statuses('should be read in an error', () => {
  const error = new GrpcError(Status.NOT_FOUND, 'gone');
  assert.is(error.message, '5 NOT_FOUND: gone');
  assert.is(error.details, 'gone');
  assert.is(error.isRefused, false);
  assert.is(new GrpcError(4711, 'odd').message, '4711 status: odd');
});

statuses('should follow the code of a reset', () => {
  for (const [name, status] of [
    ['NO_ERROR', 'INTERNAL'],
    ['PROTOCOL_ERROR', 'INTERNAL'],
    ['INTERNAL_ERROR', 'INTERNAL'],
    ['FLOW_CONTROL_ERROR', 'INTERNAL'],
    ['SETTINGS_TIMEOUT', 'INTERNAL'],
    ['STREAM_CLOSED', 'INTERNAL'],
    ['FRAME_SIZE_ERROR', 'INTERNAL'],
    ['REFUSED_STREAM', 'UNAVAILABLE'],
    ['CANCEL', 'CANCELLED'],
    ['COMPRESSION_ERROR', 'INTERNAL'],
    ['CONNECT_ERROR', 'INTERNAL'],
    ['ENHANCE_YOUR_CALM', 'RESOURCE_EXHAUSTED'],
    ['INADEQUATE_SECURITY', 'PERMISSION_DENIED'],
    ['HTTP_1_1_REQUIRED', 'INTERNAL'],
  ] as const) {
    for (const from of ['peer', 'local'] as const) {
      const error = fromH2Error(new H2Error(ErrorCode[name], 'reset', from));
      assert.is(error.code, Status[status], `${name} from ${from}`);
      assert.is(error.isRefused, false);
      assert.match(error.details, name);
    }
    const refused = fromH2Error(new H2Error(ErrorCode[name], 'reset', 'peer', true));
    assert.equal([refused.code, refused.isRefused], [Status.UNAVAILABLE, true], `${name}, refused`);
    assert.is(fromH2Error(new H2Error(ErrorCode[name], 'lost')).code, Status.UNAVAILABLE, `${name}, lost`);
  }
  assert.is(fromH2Error(new H2Error(0xffffffff, 'odd', 'peer')).code, Status.INTERNAL);
});

statuses('should follow a HTTP status', () => {
  for (const [http, status] of [
    ['400', 'INTERNAL'],
    ['401', 'UNAUTHENTICATED'],
    ['403', 'PERMISSION_DENIED'],
    ['404', 'UNIMPLEMENTED'],
    ['429', 'UNAVAILABLE'],
    ['502', 'UNAVAILABLE'],
    ['503', 'UNAVAILABLE'],
    ['504', 'UNAVAILABLE'],
    ['204', 'UNKNOWN'],
    ['302', 'UNKNOWN'],
    ['415', 'UNKNOWN'],
    ['500', 'UNKNOWN'],
    ['999', 'UNKNOWN'],
  ] as const) {
    const error = fromHttpStatus(http);
    assert.is(error.code, Status[status], http);
    assert.match(error.details, http);
  }
});

const messages = suite('grpc status message');

messages('should be decoded as far as it is encoded', () => {
  for (const [value, text] of [
    ['', ''],
    ['plain text', 'plain text'],
    ['100%25', '100%'],
    ['%e4%bd%a0%E5%A5%BD', '你好'],
    ['a%20b%0ac', 'a b\nc'],
    ['%00', '\0'],
    // bad sequences stay
    ['100%', '100%'],
    ['%', '%'],
    ['%%', '%%'],
    ['%4', '%4'],
    ['%4g', '%4g'],
    ['%g4', '%g4'],
    ['%%41', '%A'],
    ['%zz%41', '%zzA'],
    ['% 1', '% 1'],
    ['%+1', '%+1'],
    ['%0x41', '%0x41'],
    // bytes that are no UTF-8
    ['%ff', '\ufffd'],
    // UTF-8 that nobody encoded: one character is one byte
    ['\xc3\xa4', 'ä'],
    ['\xc3\xa4%25', 'ä%'],
  ] as const) {
    assert.is(decodeStatusMessage(value), text, value);
  }
});

statuses.run();
messages.run();
