// The pop-up inside another site's page: it works there, and a script that got into its page would not run.
import assert from 'node:assert/strict';
import { forum, hubs, PATIENCE, story } from './people.mjs';

// Another origin: the port differs.
const SITE = `${hubs[1]}/another-site/`;

await story(async (person) => {
  const ann = await person('Ann');
  const chat = `${hubs[0]}/search-secure.php?uniqueFeedbackId=${encodeURIComponent(forum)}`;
  const page = `<!doctype html><title>Site</title><iframe id="pop-up" width="420" height="560" src="${chat}"></iframe>
    <script>addEventListener('message', (event) => { document.title = String(event.data.title); });</script>`;
  await ann.page.route(`${SITE}**`, (route) => route.fulfill({ contentType: 'text/html', body: page }));
  await ann.page.goto(SITE);
  ann.place = ann.page.frameLocator('#pop-up');
  await ann.settled();
  const words = `from another site at ${Date.now()}`;
  await ann.say(words);
  await ann.sees(words);
  await ann.page.waitForFunction(() => document.title !== 'Site', null, { timeout: PATIENCE });
  assert.deepEqual(ann.troubles, [], 'the pop-up keeps to its own policy');

  const frame = ann.page.frames().find((one) => one.url().startsWith(hubs[0]));
  const ran = await frame.evaluate(async (address) => {
    window.ran = [];
    const inline = document.createElement('script');
    inline.textContent = 'window.ran.push("inline")';
    document.body.appendChild(inline);
    const image = document.createElement('img');
    image.setAttribute('onerror', 'window.ran.push("handler")');
    const failed = new Promise((resolve) => { image.addEventListener('error', resolve); });
    image.src = 'data:,none';
    document.body.appendChild(image);
    const foreign = document.createElement('script');
    foreign.src = `${address}evil.js`;
    const ended = new Promise((resolve) => { foreign.onerror = foreign.onload = resolve; });
    document.body.appendChild(foreign);
    await Promise.all([failed, ended]);
    return window.ran;
  }, SITE);
  assert.deepEqual(ran, [], 'nothing of it ran');
  const told = ann.troubles.splice(0);
  assert.ok(told.length >= 3 && told.every((trouble) => trouble.startsWith('policy: ')), `told: ${told}`);
});
