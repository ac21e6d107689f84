"""Pure data and arithmetic: points, legs, flows, histograms, pings.  Standard library only."""
