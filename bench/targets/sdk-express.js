// Noslate's SDK behind Express, in the manner of Noslate's own gateways: PROFILES is JSON of the functions. Without
// body parsers, which would leave a function no body, and with the answer's status and headers.
const express = require('express');
const { NoslatedClient } = require(process.env.NOSLATE_PATH);

const { FUNCTION, PORT, PROFILES } = process.env;

const client = new NoslatedClient();

function pairs({ rawHeaders }) {
  const headers = [];
  for (let i = 0; i < rawHeaders.length; i += 2) headers.push([rawHeaders[i], rawHeaders[i + 1]]);
  return headers;
}

const app = express();
app.use(async (req, res) => {
  const response = await client.invoke(FUNCTION, req, {
    url: req.url,
    method: req.method,
    headers: pairs(req),
    deadline: Date.now() + 60_000,
    requestId: String(Math.random()),
  });
  // its error has no other listener, and would end the process
  response.on('error', () => res.destroy());
  res.on('close', () => response.destroy());
  res.status(response.status);
  for (const [name, value] of response.metadata.headers) res.append(name, value);
  response.pipe(res);
});

async function main() {
  await client.start();
  await client.setFunctionProfile(JSON.parse(PROFILES));
  app.listen(Number(PORT), '127.0.0.1');
}

main();
