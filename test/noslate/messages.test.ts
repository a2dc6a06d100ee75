import * as assert from 'uvu/assert';
import {
  GetFunctionProfileResponse,
  InvokeErrorResponse,
  InvokeRequest,
  SetFunctionProfileRequest,
} from '../../src/noslate/messages.ts';
import { ProtobufError } from '../../src/protobuf.ts';
import { suite } from '../helpers.ts';

const messages = suite('noslate messages');

messages('should be the bytes that the planes send and take', () => {
  const hello = {
    name: 'hello',
    url: '/a',
    method: 'POST',
    headers: ['k', 'v'],
    deadline: 1_700_000_000_000,
    body: Buffer.from('hi'),
    requestId: 'r1',
  };
  const profile = {
    name: 'f',
    runtime: 'nodejs',
    url: 'file:///x',
    signature: 's',
    handler: 'a.b',
    resourceLimit: { memory: 134_217_728, cpu: 0.5 },
    worker: { reservationCount: 1, shrinkCooldownOnStartup: false },
  };
  // the golden vectors of the Noslate contract, §2
  const golden: [Buffer, string][] = [
    [
      InvokeRequest.encode(hello),
      '0a0568656c6c6f12022f611a04504f535422060a016b1201763100008056febc78423a02686942027231',
    ],
    [InvokeRequest.encode({ body: Buffer.from('hi') }), '3a026869'],
    [InvokeErrorResponse.encode({ name: 'Error', message: 'x', code: 5 }), '0a054572726f721201783805'],
    [
      SetFunctionProfileRequest.encode({ profiles: [profile], mode: 'IMMEDIATELY' }),
      '0a310a016612066e6f64656a731a0966696c653a2f2f2f782201732a03612e62420a0880808040150000003f4a051801b80100120b494d4d4544494154454c59',
    ],
  ];
  for (const [bytes, hex] of golden) assert.is(bytes.toString('hex'), hex);
  const decoded = InvokeRequest.decode(Buffer.from(golden[0]?.[1] ?? '', 'hex'));
  assert.equal({ ...decoded, body: decoded.body?.toString() }, { ...hello, body: 'hi' });
  assert.equal(SetFunctionProfileRequest.decode(Buffer.from(golden[3]?.[1] ?? '', 'hex')), {
    profiles: [profile],
    mode: 'IMMEDIATELY',
  });
});

messages('should keep a zero, false or empty value apart from an absent one', () => {
  const worker = { reservationCount: 0, disposable: false, shrinkStrategy: '' };
  const bytes = SetFunctionProfileRequest.encode({ profiles: [{ worker }] });
  const { profiles } = SetFunctionProfileRequest.decode(bytes);
  assert.equal(profiles, [{ worker }]);
  assert.equal(GetFunctionProfileResponse.decode(Buffer.from('0a00', 'hex')), { profiles: [{}] });
});

messages('should keep every header field, in order, with its duplicates and any text', () => {
  const headers = [
    'Set-Cookie',
    'a=1',
    'set-cookie',
    'b=2',
    'x-empty',
    '',
    'x-utf8',
    'ü €',
    'x-long',
    'y'.repeat(70_000),
  ];
  assert.equal(InvokeRequest.decode(InvokeRequest.encode({ headers })).headers, headers);
});

messages('should skip fields it does not know, and known ones of another type', () => {
  const unknown = ['6801', `71${'00'.repeat(8)}`, '7a0161', '7d00000000', '8b0108018c01', '4d00000000'].join('');
  const bytes = Buffer.from(`${unknown}0a0161`, 'hex');
  assert.equal(InvokeRequest.decode(bytes), { name: 'a' });
});

messages('should refuse what is truncated, overlong or no message', () => {
  for (const hex of [
    '0a',
    '0a05',
    '0a0568656c',
    '31000000',
    '3a7f61',
    `0a${'ff'.repeat(10)}01`,
    '00',
    '07',
    '0e',
    '8b01',
    '0c',
  ]) {
    assert.throws(
      () => InvokeRequest.decode(Buffer.from(hex, 'hex')),
      (error: unknown) => error instanceof ProtobufError,
      hex,
    );
  }
  // a nested length beyond its parent, though within the bytes
  assert.throws(
    () => InvokeRequest.decode(Buffer.from('22030a057661616161', 'hex')),
    (error: unknown) => error instanceof ProtobufError,
  );
});

messages.run();
