// What Ann posts through hub 1, Ben reads through hub 3 within a second.
import assert from 'node:assert/strict';
import { story } from './people.mjs';

const ROUNDS = 7;

// Milliseconds from Enter at Ann's to the words at Ben's: usually within the second, and never much later.
const USUALLY = 1000;
const AT_MOST = 2500;

await story(async (person) => {
  const [ann, ben] = [await person('Ann'), await person('Ben')];
  await ann.open(1);
  await ben.open(3);
  const times = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    const words = `message number ${round} of Ann`;
    const sent = await ann.say(words);
    times.push(Math.round((await ben.sees(words)) - sent));
    await ann.sees(words);
    // Ben's polls must not fall into step with Ann's messages.
    await ann.page.waitForTimeout(137 * round);
  }
  const sorted = [...times].sort((a, b) => a - b);
  const median = sorted[Math.floor(ROUNDS / 2)];
  console.log(`from Enter on hub 1 to the screen on hub 3: ${times.join(', ')} ms; median ${median} ms`);
  assert.ok(median <= USUALLY, `usually seen after ${median} ms`);
  assert.ok(sorted.at(-1) <= AT_MOST, `once seen only after ${sorted.at(-1)} ms`);

  // The other way round, and with everything that could go wrong in a text.
  await ben.say('Zoë <b onmouseover="alert(1)">says</b> "hi" & \'ho\' 😀 <script>alert(2)</script>');
  const item = ann.item('Zoë');
  await item.first().waitFor();
  const text = await item.innerText();
  assert.ok(text.includes('😀') && text.includes('hi') && text.includes("'ho'"), text);
  const handlers = await ann.place.evaluate(() =>
    [...document.querySelectorAll('#messages *')].flatMap((e) => e.getAttributeNames()).filter((n) => n.startsWith('on')));
  assert.deepEqual(handlers, [], 'no handler got into the page');
  assert.equal(await ann.place.locator('#messages script').count(), 0);

  // A page that is loaded again shows the same, as the same person. (A message sent before its typing row was known
  // leaves that row behind for a moment.)
  await ann.seesNoMore('Typing...');
  const before = await ann.screen();
  await ann.page.reload();
  await ann.sees('message number 1 of Ann');
  const names = (screen) => screen.match(/Anon [^:]*/g);
  assert.deepEqual(names(await ann.screen()), names(before));
});
