// Ann types: Ben sees that somebody does. She stops, or sends: he sees it no more.
import assert from 'node:assert/strict';
import { story } from './people.mjs';

const TYPING = 'Typing...';

await story(async (person) => {
  const [ann, ben] = [await person('Ann'), await person('Ben')];
  await ann.open(1);
  await ben.open(2);

  await ann.type('I wonder');
  await ben.sees(TYPING);
  assert.ok(!(await ben.screen()).includes('wonder'), 'what is being typed is not shown');

  // Ten seconds without a key.
  await ben.seesNoMore(TYPING, 30_000);

  // She goes on, and sends.
  await ann.type(' whether it works');
  await ben.sees(TYPING);
  await ann.place.locator('#message').press('Enter');
  await ben.sees('I wonder whether it works');
  assert.equal(await ben.item(TYPING).count(), 0, 'the typing row has become the message');

  // She types, and leaves.
  await ann.type('never mind');
  await ben.sees(TYPING);
  await ann.page.goto('about:blank');
  await ben.seesNoMore(TYPING);
});
