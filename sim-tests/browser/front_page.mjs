// The page at / opens the pop-up, and leads to the same forum through the other hubs.
import assert from 'node:assert/strict';
import { hubs, story } from './people.mjs';

async function openPopUp(someone) {
  const popup = someone.page.locator('#chat-popup');
  if (!(await popup.isVisible())) {
    await someone.page.locator('#chat-open').click();
  }
  await popup.waitFor();
  someone.place = someone.page.frameLocator('#chat-frame');
  await someone.settled();
}

await story(async (person) => {
  const [ann, ben] = [await person('Ann'), await person('Ben')];
  await ann.page.goto(`${hubs[0]}/`);
  assert.equal(await ann.page.locator('#chat-popup').isVisible(), true, 'open at first');
  await openPopUp(ann);
  const words = `posted in the pop-up at ${Date.now()}`;
  await ann.say(words);
  await ann.sees(words);

  const links = await ann.page.locator('#other-hubs a').evaluateAll((all) => all.map((a) => a.href));
  assert.equal(links.length, 2, `links to the other hubs: ${links}`);
  assert.deepEqual(links.map((link) => new URL(link).origin).sort(), hubs.slice(1).sort());
  for (const link of links) {
    await ben.page.goto('about:blank');
    await ben.page.goto(link);
    await openPopUp(ben);
    await ben.sees(words);
  }

  await ann.page.locator('#chat-close').click();
  await ann.page.locator('#chat-popup').waitFor({ state: 'hidden' });
  await openPopUp(ann);
  await ann.sees(words);
  await ann.page.locator('#chat-close').press('Escape');
  await ann.page.locator('#chat-popup').waitFor({ state: 'hidden' });
});
