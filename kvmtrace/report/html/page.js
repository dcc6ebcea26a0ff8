(() => {
  "use strict";

  // Light and dark.
  const root = document.documentElement;
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const theme = document.getElementById("theme");
  const label = () => {
    theme.textContent = dark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`);
  };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("kvmtrace-theme", root.dataset.theme);
    } catch {
      // The choice holds for this page.
    }
    label();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();

  // Tables: what has no number comes last, whichever way the column is sorted.
  const SHOWN_ROWS = 25;
  const FILTERED_ROWS = 10; // shorter tables are seen at a glance
  const sortable = [];
  const tables = document.querySelectorAll("main table");
  if (tables.length) {
    const compare = (sign) => (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (Number(a) - Number(b));
    };
    DataTable.ext.type.order["ordered-asc"] = compare(1);
    DataTable.ext.type.order["ordered-desc"] = compare(-1);
    for (const table of tables) {
      const rows = table.tBodies[0].rows.length;
      if (rows < 2) continue;
      const paged = rows > SHOWN_ROWS, filtered = rows >= FILTERED_ROWS;
      const made = new DataTable(table, {
        autoWidth: false,
        columnDefs: [
          { targets: ["number", "ordered"], type: "ordered" },
          { targets: "unnamed", orderable: false },
          { targets: "number", orderSequence: ["desc", "asc", ""] },
        ],
        info: paged,
        language: { search: "Filter", lengthLabels: { "-1": "all" }, lengthMenu: "_MENU_ rows a page", emptyTable: "No rows", info: "_START_ to _END_ of _TOTAL_ rows", infoEmpty: "no row", infoFiltered: "(of _MAX_)", zeroRecords: "No row has that" },
        layout: {
          topStart: null,
          topEnd: filtered ? "search" : null,
          bottomStart: paged ? ["info", "pageLength"] : null,
          bottomEnd: paged ? "paging" : null,
        },
        lengthMenu: [SHOWN_ROWS, 100, -1],
        order: [],
        pageLength: paged ? SHOWN_ROWS : -1,
        paging: paged,
      });
      const title = table.caption.textContent;
      const container = made.table().container();
      container.querySelector("input[type=search]")?.setAttribute("aria-label", `Filter: ${title}`);
      container.querySelector(".dt-length select")?.setAttribute("aria-label", `Rows shown of: ${title}`);
      container.querySelector(".dt-paging nav")?.setAttribute("aria-label", `Pages of table ${sortable.length + 1}: ${title}`);
      // Only the table scrolls sideways, not what filters it.
      const scroller = container.closest(".table");
      scroller.before(container);
      table.before(scroller);
      scroller.append(table);
      sortable.push(made);
      if (!filtered) continue;
      const shown = document.createElement("span");
      shown.className = "table-title";
      shown.setAttribute("aria-hidden", "true"); // the caption is read
      shown.textContent = title;
      container.querySelector(".dt-search").closest(".dt-layout-row").prepend(shown);
      table.caption.classList.add("hidden-caption");
    }
  }
  // On paper every row is there.
  let lengths = null;
  addEventListener("beforeprint", () => {
    lengths ??= sortable.map((table) => table.page.len());
    for (const table of sortable) table.page.len(-1).draw();
  });
  addEventListener("afterprint", () => {
    sortable.forEach((table, n) => table.page.len(lengths[n]).draw());
    lengths = null;
  });

  // Charts: colours are names of the style sheet, so that they change with it.
  const ink = "var(--ink)", quiet = "var(--quiet)", line = "var(--line)";
  const config = {
    aria: true,
    background: "transparent",
    font: "system-ui, sans-serif",
    axis: {
      domainColor: line, gridColor: line, gridOpacity: 0.6, tickColor: line, labelColor: ink, titleColor: quiet,
      labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, labelLimit: 220, titlePadding: 10, labelPadding: 5,
    },
    header: { labelColor: ink, titleColor: quiet },
    legend: { labelColor: ink, titleColor: quiet, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, orient: "bottom" },
    range: { category: [0, 1, 2, 3, 4, 5, 6, 7].map((n) => `var(--c${n})`) },
    text: { color: ink },
    title: { color: ink },
    view: { stroke: null },
  };
  const views = new WeakMap();

  // What is zoomed is the x axis; a scale's signal holds what the drag or a button chose.
  const HELPERS = /^zoom_(tuple|tuple_fields|translate_anchor|translate_delta|zoom_anchor|zoom_delta|modify|toggle)$/;
  const zoomed = (view) => {
    const names = Object.keys(view.getState({ signals: (name) => name.startsWith("zoom_") }).signals);
    return names.find((name) => !HELPERS.test(name));
  };
  const moved = (domain, log, factor, shift) => {
    const [low, high] = log ? domain.map(Math.log) : domain.map(Number);
    const middle = (low + high) / 2 + shift * (high - low), half = ((high - low) / 2) * factor;
    const both = [middle - half, middle + half];
    return log ? both.map(Math.exp) : both;
  };
  const zoomButtons = (drawing, view, signal, title) => {
    const bar = document.createElement("div");
    bar.className = "zoom";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", `Zoom: ${title}`);
    for (const [text, says, factor, shift] of [
      ["+", "Zoom in", 0.5, 0], ["\u2212", "Zoom out", 2, 0], ["\u2190", "Move left", 1, -0.25], ["\u2192", "Move right", 1, 0.25],
      ["all", "Show all", null, 0],
    ]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-label", says);
      button.title = says;
      button.addEventListener("click", () => {
        const x = view.scale("x");
        view.signal(signal, factor === null ? null : moved(x.domain(), x.type === "log", factor, shift)).runAsync();
      });
      bar.append(button);
    }
    drawing.before(bar);
  };
  const toggles = (figure, view) => {
    const group = figure.querySelector(".series");
    if (!group) return;
    group.hidden = false;
    const buttons = [...group.querySelectorAll("button")];
    for (const button of buttons)
      button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
        const shown = buttons.filter((each) => each.getAttribute("aria-pressed") === "true");
        view.signal("shown", shown.map((each) => each.dataset.series)).runAsync();
      });
  };
  const draw = async (figure) => {
    const spec = JSON.parse(figure.querySelector(".spec").textContent);
    const title = figure.querySelector("strong").textContent;
    const drawing = figure.querySelector(".drawing");
    const whole = {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      width: "container",
      autosize: { type: "fit-x", contains: "padding" },
      ...spec,
      description: title,
    };
    const { view } = await vegaEmbed(drawing, whole, {
      actions: false,
      ast: true, // without functions made at run time, which the page's policy forbids
      config,
      defaultStyle: false,
      mode: "vega-lite",
      renderer: "svg",
      tooltip: { disableDefaultStyle: true },
    });
    views.set(figure, view);
    figure.classList.add("drawn");
    const signal = zoomed(view);
    if (signal) zoomButtons(drawing, view, signal, title);
    toggles(figure, view);
  };
  const figures = [...document.querySelectorAll("figure.chart")];
  const later = figures.filter((figure) => figure.closest("details:not([open])"));
  // A folded chart has no width to be drawn to.
  for (const figure of later)
    figure.closest("details").addEventListener("toggle", () => figure.classList.contains("drawn") || draw(figure), { once: true });
  const now = figures.filter((figure) => !later.includes(figure));
  globalThis.kvmtracePage = {
    ready: now.reduce((before, figure) => before.then(() => draw(figure)), Promise.resolve()).then(() => {
      root.dataset.ready = "true";
    }),
    view: (figure) => views.get(figure),
  };
})();
