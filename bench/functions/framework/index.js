require('../../node_modules/@google-cloud/functions-framework').http('echo', (req, res) => {
  res.type('text/plain').send(req.rawBody ?? '');
});
