// The texts of a page whose contrast is below that of WCAG 2, level AA, with what it is.
() => {
  const parse = (colour) => {
    const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
    return { rgb: [red, green, blue], alpha };
  };
  const over = ({ rgb, alpha }, ground) => rgb.map((level, at) => level * alpha + ground[at] * (1 - alpha));
  const linear = (level) => (level / 255 <= 0.04045 ? level / 255 / 12.92 : ((level / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const found = {};
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const words = texts.currentNode.textContent.trim();
    const holder = texts.currentNode.parentElement;
    if (!words || !holder.checkVisibility() || holder.closest(":disabled, .visually-hidden, script, noscript")) continue;
    const around = [];
    for (let one = holder; one !== null; one = one.parentElement) around.unshift(getComputedStyle(one));
    const ground = around.reduce((below, { backgroundColor }) => over(parse(backgroundColor), below), [255, 255, 255]);
    const { color, fontSize, fontWeight } = around.at(-1);
    const text = parse(color);
    text.alpha *= around.reduce((product, { opacity }) => product * Number(opacity), 1);
    const [light, dark] = [luminance(over(text, ground)), luminance(ground)].sort((one, other) => other - one);
    const contrast = (light + 0.05) / (dark + 0.05);
    const large = parseFloat(fontSize) >= 24 || (parseFloat(fontSize) >= 18.66 && Number(fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) found[words.slice(0, 40)] = contrast.toFixed(2);
  }
  return found;
}
