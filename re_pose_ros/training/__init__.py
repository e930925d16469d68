"""Making the weights and policies that the package ships."""
