"use strict";
// The report's tables: sorted, filtered and turned page by page, from the numbers that the page carries.
// Texts reach the page as text nodes and attributes only, never as HTML.
(() => {
  const PAGE = 50, SHORT_PAGE = 25; // rows of classes; of a section, whose first page stands in the HTML
  const VALUE = 0, LOW = 1, HIGH = 2, N = 3, WHY = 4; // places in a figure
  const METRIC = 0, OF = 1, FEATURE = 2, PART = 3, P = 4, ADJUSTED = 5, FLAGGED = 6, FIGURE = 7; // places in an entry
  const parsed = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = parsed("data");
  const opened = {};
  /** The figures of a section, read when somebody first asks for them. */
  function section(index) {
    opened[index] ??= parsed(`data-${index}`);
    return opened[index];
  }
  const verdicts = new Map(
    [...document.querySelectorAll("[data-classes] [name=verdict] option")].slice(1).map((o) => [o.value, o.text]),
  );
  const order = [...verdicts.keys()];
  const place = (name) => data.measures.findIndex(([own]) => own === name);
  const CLEAN = place("clean_accuracy"), GAP = place("swap_gap"), PULL = place("swap_pull");
  const SPURIOUS = place("spurious_evidence"), CORE = place("core_evidence");

  // --- Elements

  function make(tag, attributes = {}, ...children) {
    const svg = ["svg", "line", "path", "g", "polygon", "polyline", "circle"].includes(tag);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  }

  // --- Numbers as people read them, rounded as in the sentences of the report: half to even

  function fixed(value, digits) {
    const text = value.toFixed(digits);
    const tie = Math.abs(value * 2 ** (digits + 1)) % 2 === 1;
    return tie && "13579".includes(text.at(-1)) ? (value - Math.sign(value) * 2 ** -20).toFixed(digits) : text;
  }

  const minus = (text) => (Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212"));
  const bare = {
    share: (value) => fixed(100 * value, 1),
    points: (value) => minus(fixed(100 * value, 1)),
    nats: (value) => minus(fixed(value, 2)),
    index: (value) => (value < 0 ? "" : "+") + fixed(value, 2).replace("-", "\u2212"),
  };
  const words = { share: " %", points: " points", nats: " nats", sigma: " σ" };
  const plain = (value, unit) => (bare[unit] ?? ((own) => fixed(own, 2).replace("-", "\u2212")))(value);
  const shown = (value, unit) => plain(value, unit) + (words[unit] ?? "");
  const counted = (n) => n.toLocaleString("en-US");
  const probability = (p) => (p === null ? "–" : p < 0.0001 ? "< 0.0001" : fixed(p, 4));

  function number(figure, unit) {
    if (figure[VALUE] === null) {
      return [make("span", { class: "quiet", title: data.texts[figure[WHY]] ?? "" }, "withheld")];
    }
    const range = `${plain(figure[LOW], unit)} to ${plain(figure[HIGH], unit)}`;
    return [make("strong", {}, shown(figure[VALUE], unit)), " ", make("span", { class: "range" }, range)];
  }

  function track(figure, unit, [low, high], colour = "") {
    const at = (value) => ((100 * (value - low)) / (high - low)).toFixed(2);
    const known = figure[VALUE] !== null;
    const label = known
      ? `${shown(figure[VALUE], unit)}, 95 % interval ${shown(figure[LOW], unit)} to ${shown(figure[HIGH], unit)}`
      : "withheld";
    const drawn = make("svg", {
      class: `track ${colour}`, viewBox: "0 0 100 20", preserveAspectRatio: "none", role: "img", "aria-label": label,
    });
    drawn.append(
      low < 0
        ? make("line", { class: "zero", x1: at(0), x2: at(0), y1: 0, y2: 20 })
        : make("line", { class: "rail", x1: 0, x2: 100, y1: 10, y2: 10 }),
    );
    if (known) {
      const dot = `M${at(figure[VALUE])} 10h.001`;
      drawn.append(
        make("line", { class: "interval", x1: at(figure[LOW]), x2: at(figure[HIGH]), y1: 10, y2: 10 }),
        make("path", { class: "dot", d: dot }),
        make("path", { class: "hole", d: dot }),
      );
    }
    return drawn;
  }

  // --- CSV

  function csv(rows) {
    const cell = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
      return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
  }

  function download(name, rows) {
    const url = URL.createObjectURL(new Blob([csv(rows)], { type: "text/csv;charset=utf-8" }));
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  // --- A table that grows

  /** Let the table within `root` be sorted, filtered and paged.
   *  total: how many rows there are; page: how many are shown; rows: gives them all; keys: by the name of a column,
   *  what to sort by; keeps: whether a row is left by the filters, an object of their values; draw: the elements of a
   *  row; file, head and cells: its CSV. */
  function grow(root, { total, page, rows, keys, keeps, draw, file, head, cells }) {
    const body = root.querySelector("tbody");
    const tools = root.querySelector(".tools");
    const count = make("p", { class: "count small quiet", "aria-live": "polite" });
    const pager = make("div", { class: "row pager" });
    const [back, on, all] = ["Previous", "Next", "Show all"].map((name) => make("button", { type: "button" }, name));
    const at = make("span", { class: "small quiet" });
    let found = null, first = 0, size = page, sorted = null, falling = false;

    function find() {
      const wanted = Object.fromEntries(
        [...tools.querySelectorAll("[name]")].map((own) => [own.name, own.type === "checkbox" ? own.checked : own.value]),
      );
      found = rows().filter((row) => keeps(row, wanted));
      if (sorted !== null) {
        const key = keys[sorted], sign = falling ? -1 : 1;
        const missing = (own) => own === null || own === undefined;
        found = found
          .map((row) => [key(row), row])
          .sort(([a], [b]) => {
            if (missing(a) || missing(b)) return missing(a) - missing(b);
            return sign * (typeof a === "string" ? collator.compare(a, b) : a - b);
          })
          .map(([, row]) => row);
      }
      turn(0);
    }

    function turn(to) {
      first = to;
      body.replaceChildren(...(found ?? rows()).slice(first, first + size).map(draw));
      say();
    }

    function say() {
      const left = found?.length ?? total, last = Math.min(first + size, left);
      count.textContent = `${counted(left)} of ${counted(total)}`;
      at.textContent = left ? `${counted(first + 1)} to ${counted(last)}` : "nothing is left by the filters";
      back.disabled = first === 0;
      on.disabled = last === left;
      all.disabled = left <= size;
    }

    back.addEventListener("click", () => turn(Math.max(0, first - size)));
    on.addEventListener("click", () => turn(first + size));
    all.addEventListener("click", () => {
      size = Infinity;
      turn(0);
    });
    tools.addEventListener("input", find);
    tools.querySelector(".download").addEventListener("click", () => download(file, [head, ...(found ?? rows()).map(cells)]));
    for (const column of root.querySelectorAll("[data-sort]")) {
      column.append(make("button", { type: "button", "aria-label": `Sort by ${column.textContent}` }));
      column.addEventListener("click", () => {
        const name = column.dataset.sort;
        falling = sorted === name && !falling;
        sorted = name;
        for (const other of root.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
        column.setAttribute("aria-sort", falling ? "descending" : "ascending");
        find();
      });
    }
    tools.append(count);
    tools.hidden = false;
    pager.append(back, on, at, all);
    root.querySelector(".rest")?.remove();
    root.querySelector(".scroll").after(pager);
    pager.hidden = total <= size;
    say();
    return turn;
  }

  const collator = new Intl.Collator("en", { numeric: true });
  const like = (text, part) => !part || text.toLowerCase().includes(part.toLowerCase());

  // --- Classes, and what is known of one

  const headed = (...titles) =>
    make("thead", {}, make("tr", {}, ...titles.map((title) =>
      make("th", { scope: "col", class: title === "Pictures" && "n" }, title))));
  const scrolled = (label, table) =>
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
  const cell = (kind, ...children) => make("td", { class: kind }, ...children);

  function figuresOf(own) {
    const known = own.verdict !== "no_spurious_features";
    const rows = data.measures.flatMap(([, title, unit, scale, needed], i) => {
      if (needed && !known) return [];
      const figure = own.figures[i];
      return make("tr", {}, make("th", { scope: "row" }, title), cell("plot", track(figure, unit, scale)),
        cell("figure", ...number(figure, unit)), cell("n", counted(figure[N])));
    });
    return make("table", { class: "figures" }, headed("Figure", "", "Value", "Pictures"), make("tbody", {}, ...rows));
  }

  function featuresOf(own) {
    const rows = own.features.map(([feature, label, overlap, figures]) =>
      make("tr", {}, make("th", { scope: "row" }, String(feature)), cell("", data.texts[label]),
        ...figures.map((figure, i) => cell("figure", ...number(figure, data.featureMeasures[i][1]))),
        cell("wide", overlap === null ? "–" : shown(overlap, "share")), cell("n", counted(figures[0][N]))));
    const titles = data.featureMeasures.map(([title]) => title);
    return make("table", {}, headed("Feature", "Label", ...titles, "Control overlap", "Pictures"), make("tbody", {}, ...rows));
  }

  function entriesOf(own, index) {
    const rows = own.entries.filter((entry) => entry[OF] === index).map((entry) => {
      const { title, unit, scale } = own.metrics[entry[METRIC]];
      const details = [
        entry[PART] === null ? null : own.parts[entry[PART]],
        entry[FEATURE] === null ? null : `feature ${entry[FEATURE]}`,
      ].filter((text) => text !== null).join(", ");
      return make("tr", {}, make("th", { scope: "row" }, details ? `${title}, ${details}` : title, ...chip(entry)),
        cell("plot", track(entry[FIGURE], unit, scale)), cell("figure", ...number(entry[FIGURE], unit)),
        cell("n", counted(entry[FIGURE][N])));
    });
    if (!rows.length) return [];
    const table = make("table", { class: "figures" }, headed("Figure", "", "Value", "Pictures"), make("tbody", {}, ...rows));
    return [make("h4", {}, own.title), scrolled(own.title, table)];
  }

  const chip = (entry) => (entry[FLAGGED] ? [" ", make("span", { class: "chip flagged" }, "flagged")] : []);

  function detailsOf(own, index) {
    const tested = own.p === null ? [] : [
      make("p", { class: "small quiet" }, `p ${probability(own.p)}, adjusted for all classes ${probability(own.adjusted)}`),
    ];
    return make("td", { colspan: 8 }, make("p", {}, own.reading), ...tested,
      scrolled(`Figures of ${data.names[index]}`, figuresOf(own)),
      make("h4", {}, "Features"), scrolled(`Features of ${data.names[index]}`, featuresOf(own)),
      ...data.sections.flatMap((_, at) => entriesOf(section(at), index)));
  }

  function classRow(index) {
    const own = data.classes[index];
    const known = own.verdict !== "no_spurious_features";
    const [, , unit, scale] = data.measures[SPURIOUS];
    const figure = (at) => own.figures[at];
    const text = (at) => (known ? number(figure(at), data.measures[at][2]) : ["–"]);
    const open = make("button", { type: "button", class: "open", "aria-expanded": "false" }, data.names[index]);
    const row = make("tr", {}, make("th", { scope: "row" }, open),
      cell("plot", make("div", { class: "pair" }, track(figure(CORE), unit, scale, "core"),
        track(figure(SPURIOUS), unit, scale, own.verdict))),
      cell("figure wide", ...text(SPURIOUS)), cell("figure", ...text(GAP)), cell("figure wide", ...text(PULL)),
      cell("figure wide", ...number(figure(CLEAN), "share")), cell("n wide", counted(figure(CLEAN)[N])),
      cell("", make("span", { class: `chip ${own.verdict}`, title: own.reading }, verdicts.get(own.verdict))));
    open.addEventListener("click", () => {
      const opened = open.getAttribute("aria-expanded") === "false";
      open.setAttribute("aria-expanded", String(opened));
      if (opened) {
        row.after(make("tr", { class: "own" }, detailsOf(own, index)));
        document.querySelectorAll("[data-series]").forEach((plot) => choose(plot, index));
      } else {
        row.nextElementSibling.remove();
      }
    });
    return row;
  }

  function growClasses(root) {
    const of = (at) => (index) => data.classes[index].figures[at][VALUE];
    const keys = { class: (i) => data.names[i], n: (i) => data.classes[i].figures[CLEAN][N],
      verdict: (i) => order.indexOf(data.classes[i].verdict), evidence: of(SPURIOUS), gap: of(GAP),
      pull: of(PULL), clean: of(CLEAN) };
    const classes = data.classes.map((_, index) => index);
    const turn = grow(root, {
      total: classes.length,
      page: PAGE,
      rows: () => classes,
      keys,
      keeps: (i, wanted) =>
        like(data.names[i], wanted.class) && (!wanted.verdict || wanted.verdict === data.classes[i].verdict),
      draw: classRow,
      file: "classes.csv",
      head: ["class", "verdict", "p", "adjusted p",
        ...data.measures.flatMap(([name]) => [name, `${name}_low`, `${name}_high`, `${name}_n`])],
      cells: (i) => [data.names[i], verdicts.get(data.classes[i].verdict), data.classes[i].p, data.classes[i].adjusted,
        ...data.classes[i].figures.flatMap((figure) => figure.slice(0, WHY))],
    });
    turn(0); // rows that can be opened
  }

  // --- Sections

  function entryRow(own, entry) {
    const { title, unit, about, scale } = own.metrics[entry[METRIC]];
    const figure = entry[FIGURE];
    const cells = [make("th", { scope: "row" }, data.names[entry[OF]], ...chip(entry))];
    if (own.features) cells.push(cell("n", entry[FEATURE] === null ? "" : String(entry[FEATURE])));
    cells.push(make("td", { class: "title", title: about }, title));
    if (own.parts.length) cells.push(cell("part", entry[PART] === null ? "" : own.parts[entry[PART]]));
    cells.push(cell("plot wide", track(figure, unit, scale, entry[FLAGGED] ? "relies" : "")),
      cell("figure", ...number(figure, unit)), cell("n wide", counted(figure[N])));
    if (own.tested) cells.push(cell("n wide", probability(entry[P])), cell("n", probability(entry[ADJUSTED])));
    return make("tr", {}, ...cells);
  }

  function growSection(root, at) {
    const own = () => section(at);
    const part = (entry) => (entry[PART] === null ? null : own().parts[entry[PART]]);
    grow(root, {
      total: Number(root.dataset.rows),
      page: SHORT_PAGE,
      rows: () => own().entries,
      keys: { class: (e) => data.names[e[OF]], feature: (e) => e[FEATURE], part, value: (e) => e[FIGURE][VALUE],
        metric: (e) => own().metrics[e[METRIC]].title, n: (e) => e[FIGURE][N], p: (e) => e[P], adjusted: (e) => e[ADJUSTED] },
      keeps: (e, wanted) => like(data.names[e[OF]], wanted.class) && (!wanted.flagged || e[FLAGGED] === 1)
        && (!wanted.metric || e[METRIC] === Number(wanted.metric)) && (!wanted.part || e[PART] === Number(wanted.part))
        && (!wanted.feature || e[FEATURE] === Number(wanted.feature)),
      draw: (entry) => entryRow(own(), entry),
      file: `${root.dataset.section}.csv`,
      head: ["class", "feature", "metric", "part", "value", "low", "high", "n", "p", "adjusted p", "flagged"],
      cells: (e) => [data.names[e[OF]], e[FEATURE], own().metrics[e[METRIC]].name, part(e),
        ...e[FIGURE].slice(0, WHY), e[P], e[ADJUSTED], e[FLAGGED]],
    });
  }

  // --- Curves of single classes

  /** Draw the curve of a class, or of none, into a plot, and add its numbers. */
  function choose(plot, index) {
    const points = section(plot.dataset.index).series[plot.dataset.series][index] ?? [];
    const drawing = plot.querySelector("svg"), table = plot.querySelector("table"), link = plot.querySelector("a");
    plot.querySelectorAll(".chosen").forEach((own) => own.remove());
    plot.querySelector("input").value = points.length ? data.names[index] : "";
    drawing.append(curve(drawing, points));
    for (const [x, figure] of points) {
      const numbers = [data.names[index], x, ...figure.slice(0, WHY)];
      table.tBodies[0].append(make("tr", { class: "chosen" }, ...numbers.map((own) => make("td", {}, String(own ?? "")))));
    }
    const texts = [...table.rows].map((row) => [...row.cells].map((own) => own.textContent));
    const numeric = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(text) : text);
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv(texts.map(([of, ...rest]) => [of, ...rest.map(numeric)])))}`;
  }

  function curve(drawing, points) {
    const [xLow, xHigh] = drawing.dataset.x.split(" ").map(Number), [yLow, yHigh] = drawing.dataset.y.split(" ").map(Number);
    const [left, top, right, bottom] = drawing.dataset.area.split(" ").map(Number);
    const at = (x, y) => [
      (left + ((right - left) * (x - xLow)) / (xHigh - xLow)).toFixed(2),
      (bottom - ((bottom - top) * (y - yLow)) / (yHigh - yLow)).toFixed(2),
    ];
    const known = points.filter(([, figure]) => figure[VALUE] !== null);
    const line = (place, own = known) => own.map(([x, figure]) => at(x, figure[place]).join(",")).join(" ");
    return make("g", { class: "chosen" },
      make("polygon", { class: "band", points: `${line(LOW)} ${line(HIGH, [...known].reverse())}` }),
      make("polyline", { class: "curve", points: line(VALUE) }),
      ...known.map(([x, figure]) => {
        const [cx, cy] = at(x, figure[VALUE]);
        return make("circle", { class: "dot", cx, cy, r: 3.5 });
      }));
  }

  function growCurves(plots) {
    const names = make("datalist", { id: "names" });
    document.body.append(names);
    for (const plot of plots) {
      const input = plot.querySelector("input");
      input.parentElement.hidden = false;
      input.addEventListener("focus", () => {
        if (!names.children.length) names.append(...data.names.map((name) => make("option", { value: name })));
      });
      input.addEventListener("change", () => choose(plot, data.names.indexOf(input.value)));
    }
  }

  // --- The model card

  const copy = document.querySelector(".copy");
  copy.hidden = false;
  copy.addEventListener("click", () => {
    getSelection().selectAllChildren(document.querySelector("#card ~ details pre"));
    copy.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C"; // works from files as well
  });

  growClasses(document.querySelector("[data-classes]"));
  for (const root of document.querySelectorAll("[data-section]")) growSection(root, root.dataset.index);
  growCurves([...document.querySelectorAll("[data-series]")]);
  document.documentElement.dataset.ready = "";
})();
