(async () => {
  const themes = {
    light: { text: "#1c2430", soft: "#5a6675", line: "#dde2e8", dense: "#e08a00", trimmed: "#0067a3", low: "#eef2f6", middle: "#86b9da", high: "#00507f", third: "#00805c", fourth: "#b0487f", fifth: "#6d5bd0" },
    dark: { text: "#e6eaf0", soft: "#a3aebb", line: "#323b47", dense: "#f0b24a", trimmed: "#5cb8ee", low: "#1f2730", middle: "#2f6f99", high: "#8fd3ff", third: "#3cc79b", fourth: "#e58fbd", fifth: "#a99bf5" },
  };
  const charts = [...document.querySelectorAll(".chart")].map(
    (place) => [place, JSON.parse(place.querySelector("script").textContent)]);
  try {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  } catch (error) {
    for (const [place] of charts) place.textContent = place.getAttribute("aria-label");
    return;
  }
  const preference = matchMedia("(prefers-color-scheme: dark)");
  const draw = (printing) => {
    const theme = themes[preference.matches && !printing ? "dark" : "light"];
    const colour = (value) => typeof value === "string" && value[0] === "@" ? theme[value.slice(1)]
      : Array.isArray(value) ? value.map(colour)
      : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, colour(v)]))
      : value;
    for (const [place, figure] of charts) {
      const { data, layout } = colour(figure);
      const axis = { gridcolor: theme.line, zeroline: false, automargin: true, fixedrange: true };
      Plotly.react(place, data, {
        margin: { l: 10, r: 10, t: 10, b: 40 }, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
        font: { family: "system-ui, sans-serif", size: 13, color: theme.text },
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", itemsizing: "constant" }, ...layout,
        xaxis: { ...axis, ...layout.xaxis, title: { font: { size: 13 }, ...layout.xaxis.title } }, yaxis: { ...axis, ...layout.yaxis },
      }, { displayModeBar: false, responsive: true });
    }
  };
  for (const [place] of charts) place.replaceChildren();
  draw(false);
  preference.addEventListener("change", () => draw(false));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));
})();
